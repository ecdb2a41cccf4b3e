"""The contents that are being encoded now, each once, whoever waits for it."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from searchmesh_common.errors import Internal, ServiceError
from searchmesh_common.logs import fields
from searchmesh_encoder.computation import Read

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from searchmesh_encoder.cache import EmbeddingCache
    from searchmesh_encoder.computation import Computation, Readable
    from searchmesh_encoder.content import Content
    from searchmesh_encoder.embedding import Embedding
    from searchmesh_encoder.prepared import Prepared, PrepareOptions
    from searchmesh_encoder.scheduling.admission import Admission
    from searchmesh_encoder.scheduling.cost_model import CostModel
    from searchmesh_encoder.scheduling.scheduler import Scheduler
    from searchmesh_encoder.text_model import TextModel
    from searchmesh_encoder.work import Item, Lane

    AnyItem = Item[Any, Any]

_log = logging.getLogger("searchmesh.encoder")

_INLINE_UNITS = 400
"""Characters or bytes of a call that are read on the event loop, since handing them to a thread and
back takes as long as reading them."""

_COMPONENT_BYTES = 4

READ_UNITS = 65_536
"""Most characters or bytes that a thread reads in one go: others get their turn in between."""


class InFlight:
    """Takes computations through preprocessing and the model; used on the event loop alone."""

    def __init__(
        self,
        readers: Scheduler,
        computing: Scheduler,
        admission: Admission,
        costs: CostModel,
        *,
        cache: EmbeddingCache | None,
        coalesces: bool,
    ) -> None:
        """readers: preprocess contents. computing: runs the models.

        costs: those of `computing`, told how many tokens contents have.
        """
        self._readers = readers
        self._computing = computing
        self._admission = admission
        self._costs = costs
        self._cache = cache
        self.coalesces = coalesces
        """Whether equal contents that are on their way together are computed once."""
        self._by_key: dict[bytes, Computation] = {}
        self._to_compute: list[AnyItem] = []

    def is_joined(self, key: bytes | None, lane: Lane, caller: str) -> bool:
        """Whether an equal content is on its way so that one more who waits costs nothing.

        One of the bulk lane costs a query's lane as much as a new one, and one of another caller
        this one's share: it is taken over, or computed a second time.
        """
        found = self._by_key.get(key) if key is not None else None
        return found is not None and found.comes_first(lane, caller)

    def find(self, key: bytes | None, lane: Lane, caller: str) -> Computation | None:
        """The computation of an equal content, if it is done as early as one of this call's own.

        One that waits for a worker is taken over where that has it done earlier. One that a bulk
        worker, of lowest priority, has already is not waited for by a query; and nobody waits for
        one that another caller's work keeps from being read.
        """
        found = self._by_key.get(key) if key is not None else None
        return found if found and found.hurry(lane, caller) else None

    def add(self, computation: Computation) -> None:
        """Let others find a computation."""
        if self.coalesces and computation.key is not None:
            self._by_key[computation.key] = computation

    def begin(self, model: TextModel, computations: Sequence[Computation]) -> None:
        """Let computations of one call set out."""
        reader = _Reader(model)
        if sum([len(one.content.data) for one in computations]) > _INLINE_UNITS:
            for one in computations:
                self._admission.hold(one.lane, one.caller, one.likely_tokens)
                one.held_tokens = one.likely_tokens
            self._readers.submit([one.to_read(reader) for one in computations])
            return
        items: list[AnyItem] = []
        for one in computations:
            items += one.was_read(reader.read(one.content, one.options))
        self._computing.submit(items)

    def was_read(self, computation: Computation, prepared: Prepared[np.ndarray]) -> None:
        self._release(computation)
        units = max(1, len(computation.content.data))
        self._costs.read(computation.model.name, units, prepared.tokens)
        vector_bytes = _COMPONENT_BYTES * computation.model.card.dimension
        computation.held_bytes = sum(
            [part.payload.nbytes + vector_bytes for part in prepared.parts]
        )
        self._admission.hold_bytes(computation.entered_lane, computation.held_bytes)

    def compute(self, items: Sequence[AnyItem]) -> None:
        # once for all contents that were read together, so that they share batches
        if not self._to_compute:
            asyncio.get_running_loop().call_soon(self._submit)
        self._to_compute += items

    def stop(self, items: Sequence[AnyItem], *, read: bool) -> None:
        (self._computing if read else self._readers).take_back(items)

    def stop_waiting(self, items: Sequence[AnyItem]) -> bool:
        return self._computing.take_back_all(items)

    def is_sooner_for(self, items: Sequence[AnyItem], caller: str) -> bool:
        if self._to_compute:
            self._submit()
        return self._computing.is_sooner_for(items, caller)

    def ended(self, computation: Computation, embedding: Embedding | None) -> None:
        self._release(computation)
        self._admission.hold_bytes(computation.entered_lane, -computation.held_bytes)
        key = computation.key
        if key is None:
            return
        if self._by_key.get(key) is computation:
            del self._by_key[key]
        if embedding and self._cache:
            self._cache.put(key, embedding)

    def _submit(self) -> None:
        items, self._to_compute = self._to_compute, []
        self._computing.submit(items)

    def _release(self, computation: Computation) -> None:
        if computation.held_tokens:
            self._admission.release(computation.lane, computation.caller, computation.held_tokens)
            computation.held_tokens = 0


@dataclass(frozen=True, slots=True)
class _Reader:
    """Preprocesses contents for a model; what a thread of the readers runs."""

    model: TextModel

    @property
    def name(self) -> str:
        return self.model.name

    def padded_length(self, longest: int) -> int:
        return longest  # contents are read one by one

    def run(self, payloads: Sequence[tuple[Content, PrepareOptions]]) -> list[Read]:
        return [self.read(*one) for one in payloads]

    def read(self, content: Content, options: PrepareOptions) -> Read:
        """What the model runs on, or what is wrong with a content; blocks."""
        started = time.perf_counter()
        outcome = self._outcome(content, options)
        return Read(outcome, time.perf_counter() - started)

    def _outcome(self, content: Content, options: PrepareOptions) -> Readable:
        try:
            return self.model.prepare(content, options)
        except ServiceError as error:
            return error
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # noqa: BLE001 - it is that content's, its mates are well
            # a panic of the tokeniser, too, which is no Exception
            _log.exception("a content could not be read", extra=fields(model=self.name))
            return Internal("this content could not be read")
