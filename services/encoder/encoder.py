"""Encoder: contents to embeddings, the whole story.

A call is checked and let in by what can be seen of it. Each of its contents is answered from the
cache, or waits for an equal one that is on its way already, or sets out itself: it is preprocessed,
waits for a worker, is computed in a batch with others, and answers all who wait for it.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from searchmesh_common import call_context
from searchmesh_common.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidRequest,
    Overloaded,
)
from searchmesh_encoder.cache import content_key
from searchmesh_encoder.computation import Computation, Gathering
from searchmesh_encoder.prepared import PrepareOptions, Segmentation
from searchmesh_encoder.scheduling.admission import Estimate
from searchmesh_encoder.work import Lane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from searchmesh_encoder.cache import EmbeddingCache
    from searchmesh_encoder.content import Content
    from searchmesh_encoder.embedding import Embedding
    from searchmesh_encoder.in_flight import InFlight
    from searchmesh_encoder.metrics import EncoderMetrics
    from searchmesh_encoder.registry import ModelRegistry
    from searchmesh_encoder.scheduling.admission import Admission
    from searchmesh_encoder.tallies import Tallies
    from searchmesh_encoder.text_model import TextModel

_INLINE_DIGEST_UNITS = 262_144
"""Most characters or bytes of a call of which digests are made on the event loop."""

_CLOCK_SECONDS = 0.02
"""A caller's clock starts before the server's, so its deadline may be felt this much early."""


@dataclass(frozen=True, slots=True)
class EncodeCall:
    """What one call asks for."""

    model: str
    contents: Sequence[Content]
    lane: Lane = Lane.QUERY
    options: PrepareOptions = field(default_factory=PrepareOptions)
    dimensions: int = 0
    """Components to keep; 0 for all."""
    fingerprint: str = ""
    """The fingerprint that the model must have; empty for any."""
    deadline: float | None = None
    """On the clock of time.monotonic."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """The answer of a call."""

    model: TextModel
    embeddings: Sequence[Embedding]
    """One for each content, in order."""
    preprocess_seconds: float
    """Of the content that took longest to read; 0 where none was read for this call."""
    queue_seconds: float
    """Of the content that waited longest."""
    compute_seconds: float
    """Of the batch that took longest."""
    total_seconds: float


@dataclass(slots=True, eq=False)
class _Call:
    """A call on its way through the encoder."""

    asked: EncodeCall
    model: TextModel
    tallies: Tallies
    gathering: Gathering
    caller: str
    deadline: float
    units: int
    """Characters or bytes of all contents."""
    own: Sequence[Computation] = ()
    """Those that set out for it."""


class Encoder:
    """Contents to embeddings; used on the event loop alone."""

    def __init__(
        self,
        registry: ModelRegistry,
        in_flight: InFlight,
        admission: Admission,
        metrics: EncoderMetrics,
        cache: EmbeddingCache | None,
    ) -> None:
        self._registry = registry
        self._in_flight = in_flight
        self._admission = admission
        self._metrics = metrics
        self._cache = cache

    async def encode(self, asked: EncodeCall) -> Encoded:
        """Encode contents with one model; a content that cannot be encoded fails alone.

        Raises NotFound, Unavailable, FailedPrecondition (WRONG_FINGERPRINT), InvalidRequest,
        Overloaded or DeadlineExceeded for the call as a whole.
        """
        started = time.perf_counter()
        model = self._registry.ready(asked.model)
        _check(model, asked)
        call = _call(asked, model, self._metrics.of(model.name, asked.lane))
        call.tallies.begin(len(asked.contents))
        try:
            await self._gather(call)
        except BaseException as error:
            call.tallies.failed(_outcome(error, call.deadline), len(asked.contents))
            raise
        encoded = _encoded(call, started)
        call.tallies.encoded(encoded)
        return encoded

    async def _gather(self, call: _Call) -> None:
        """Raises Overloaded and DeadlineExceeded."""
        if time.monotonic() >= call.deadline:
            raise DeadlineExceeded("the deadline had passed when the call arrived")
        keys = await self._keys(call)
        missing = self._look_up(call, keys)
        if not missing:
            call.tallies.looked_up(hits=len(keys), misses=0)
            return
        lane, gathering = call.asked.lane, call.gathering
        self._admission.take_bytes(lane, call.units)
        try:
            self._set_out(call, keys, missing)
            if self._cache is not None:
                call.tallies.looked_up(hits=len(keys) - len(missing), misses=len(missing))
            await gathering.wait()
        except BaseException:
            gathering.leave()
            raise
        finally:
            self._admission.hold_bytes(lane, -call.units)

    async def _keys(self, call: _Call) -> Sequence[bytes | None]:
        """What equal contents have in common; None where nobody asks for it.

        Raises Overloaded.
        """
        contents, options = call.asked.contents, call.asked.options
        if self._cache is None and not self._in_flight.coalesces:
            return [None] * len(contents)

        def keys() -> list[bytes | None]:
            return [content_key(call.model.fingerprint, options, one) for one in contents]

        if call.units <= _INLINE_DIGEST_UNITS:
            return keys()
        self._admission.take_bytes(call.asked.lane, call.units)
        try:
            return await asyncio.to_thread(keys)
        finally:
            self._admission.hold_bytes(call.asked.lane, -call.units)

    def _look_up(self, call: _Call, keys: Sequence[bytes | None]) -> Sequence[int]:
        """Answer what the cache knows; returns the places of the rest."""
        cache = self._cache
        if cache is None:
            return range(len(keys))
        missing = []
        for index, key in enumerate(keys):
            known = cache.get(key) if key is not None else None
            if known:
                call.gathering.receive(index, known)
            else:
                missing.append(index)
        return missing

    def _set_out(self, call: _Call, keys: Sequence[bytes | None], missing: Sequence[int]) -> None:
        """Let each missing content wait for its equal, or set out, if there is room and time."""
        asked, in_flight = call.asked, self._in_flight
        tokens = self._admit(call, keys, missing)
        new: list[Computation] = []
        for index, likely in zip(missing, tokens, strict=True):
            one = in_flight.find(keys[index], asked.lane, call.caller)
            if one is None:
                one = Computation(
                    in_flight,
                    call.model,
                    asked.contents[index],
                    asked.options,
                    lane=asked.lane,
                    caller=call.caller,
                    likely_tokens=likely,
                    key=keys[index],
                )
                new.append(one)
                in_flight.add(one)
            one.join(call.gathering, index, call.deadline)
        call.own = new
        call.tallies.joined(len(missing) - len(new))
        in_flight.begin(call.model, new)

    def _admit(
        self, call: _Call, keys: Sequence[bytes | None], missing: Sequence[int]
    ) -> Sequence[int]:
        """The likely tokens of each missing content, 0 for one that is on its way already.

        Raises Overloaded.
        """
        model, asked, admission = call.model, call.asked, self._admission
        whole = asked.options.segmentation is Segmentation.WHOLE
        most = model.card.window if whole else math.inf
        tokens = []
        units = 0
        for index in missing:
            if self._in_flight.is_joined(keys[index], asked.lane, call.caller):
                tokens.append(0)
                continue
            size = len(asked.contents[index].data)
            tokens.append(admission.likely_tokens(model.name, size, most))
            units += size
        if units:
            longest = min(max(tokens), model.card.window)
            admission.check(
                Estimate(model.name, asked.lane, call.caller, units, sum(tokens), longest),
                call.deadline,
            )
        return tokens


def _call(asked: EncodeCall, model: TextModel, tallies: Tallies) -> _Call:
    context = call_context.current()
    return _Call(
        asked,
        model,
        tallies,
        gathering=Gathering(len(asked.contents)),
        caller=context.caller if context else "",
        deadline=math.inf if asked.deadline is None else asked.deadline,
        units=sum(len(one.data) for one in asked.contents),
    )


def _outcome(error: BaseException, deadline: float) -> str:
    """How the contents of a call are counted that is not answered."""
    match error:
        case Overloaded():
            return "refused"
        case DeadlineExceeded():
            return "expired"
        case asyncio.CancelledError():
            # a caller whose time is over goes away like any other
            return "expired" if time.monotonic() >= deadline - _CLOCK_SECONDS else "cancelled"
        case _:
            return "error"


def _check(model: TextModel, call: EncodeCall) -> None:
    if call.fingerprint not in ("", model.fingerprint):
        raise FailedPrecondition(
            "WRONG_FINGERPRINT",
            f"{model.name} has the fingerprint {model.fingerprint}, not {call.fingerprint}: "
            "its vectors cannot be compared with those",
            {"model": model.name, "fingerprint": model.fingerprint, "demanded": call.fingerprint},
        )
    allowed = (0, *model.card.dimensions, model.card.dimension)
    if call.dimensions not in allowed:
        named = ", ".join(map(str, allowed[1:]))
        raise InvalidRequest.of(
            "dimensions", f"{call.dimensions} given, {model.name} allows {named}"
        )


def _encoded(call: _Call, started: float) -> Encoded:
    gathering = call.gathering
    return Encoded(
        model=call.model,
        embeddings=gathering.embeddings,
        preprocess_seconds=max([one.read_seconds for one in call.own], default=0.0),
        queue_seconds=gathering.queue_seconds,
        compute_seconds=gathering.compute_seconds,
        total_seconds=time.perf_counter() - started,
    )
