"""One batch through its model; one that fails is halved until the items at fault are alone."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from searchmesh_common.errors import Internal, ServiceError
from searchmesh_common.logs import fields
from searchmesh_encoder.work import Batch, Done, Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from searchmesh_encoder.work import Item

    AnyItem = Item[Any, Any]
    Outcome = Done[Any] | ServiceError
    Computed = tuple[Sequence[AnyItem], Sequence[Outcome], Batch]

_log = logging.getLogger("searchmesh.scheduler")


def compute(items: Sequence[AnyItem]) -> Iterator[Computed]:
    """Run a batch; blocks.

    Yields every run with the items that it decided and their outcomes: each item once, none for a
    run that failed and is halved. Items that were taken back before a further attempt are left out.
    """
    runner = items[0].runner
    started = time.monotonic()
    try:
        values = runner.run([item.payload for item in items])
        seconds = time.monotonic() - started
        outcomes: list[Outcome] = [
            value if isinstance(value, ServiceError) else Done(value, started - item.since, seconds)
            for item, value in zip(items, values, strict=True)
        ]
    except BaseException as error:  # noqa: BLE001 - a worker outlives whatever a batch meets
        # a panic of a library in Rust, too, which is no Exception
        failure = error
    else:
        yield items, outcomes, _batch(items, started, seconds)
        return
    # not inside the handler, where each further failure would carry this one along
    run = _batch(items, started, time.monotonic() - started, failed=True)
    if len(items) > 1:
        yield [], [], run
        yield from _halved(items)
    else:
        yield items, [_error(items[0], failure)], run


def _halved(items: Sequence[AnyItem]) -> Iterator[Computed]:
    middle = len(items) // 2
    for half in (items[:middle], items[middle:]):
        wanted = [item for item in half if item.place is not Place.GONE]
        if wanted:
            yield from compute(wanted)


def _error(item: AnyItem, failure: BaseException) -> ServiceError:
    _log.error("an item failed", exc_info=failure, extra=fields(model=item.runner.name))
    known = failure if isinstance(failure, ServiceError) else None
    return known or Internal("the model could not compute this")


def _batch(
    items: Sequence[AnyItem], started: float, seconds: float, *, failed: bool = False
) -> Batch:
    lengths = [item.length for item in items]
    return Batch(
        runner=items[0].runner.name,
        lane=items[0].lane,
        items=len(items),
        tokens=sum(lengths),
        padded_tokens=items[0].runner.padded_length(max(lengths)) * len(lengths),
        queue_seconds=[started - item.since for item in items],
        compute_seconds=seconds,
        failed=failed,
    )
