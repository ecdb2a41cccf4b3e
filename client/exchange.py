"""What is said on a stream of batches, over all the times that it is opened.

    taken -> sent -> answered
              ^ | the stream broke, or the service was too busy for the batch
              +-+

`Client` and `AsyncClient` carry it: they take batches while there is room, send what is to be sent,
and settle each answer. Nothing here waits.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from searchmesh import convert, errors
from searchmesh.openings import Openings
from searchmesh.results import StreamedResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import grpc

    from searchmesh.connection import Connection
    from searchmesh.contents import Content
    from searchmesh.encoder.v1.encoder_service_pb2 import EncodeStreamRequest, EncodeStreamResponse
    from searchmesh.rpc import Rpc


@dataclass(frozen=True, slots=True)
class EncodeStream:
    """A stream of batches, ready to be carried."""

    rpc: Rpc[Any]
    batches: Iterable[Sequence[Content]]
    request: Callable[[int, Sequence[Content]], EncodeStreamRequest]
    """The request for a batch and its index. Raises InvalidRequest for what cannot be sent."""
    in_flight: int
    """Most batches that are taken and not answered."""
    timeout: float | None
    """Seconds for all of it."""


@dataclass(slots=True)
class _Taken:
    request: EncodeStreamRequest
    attempts: int = 0
    """Times that the service answered it."""


@dataclass(slots=True)
class Exchange:
    """The batches of one stream that are taken and not answered."""

    stream: EncodeStream
    connection: Connection
    to_send: deque[EncodeStreamRequest] = field(default_factory=deque)
    """On the stream that is open, in order."""
    _taken: dict[str, _Taken] = field(default_factory=dict)
    _count: int = 0
    _broken: int = 0
    """Times that the stream broke since the last answer."""
    _openings: Openings = field(init=False)

    def __post_init__(self) -> None:
        stream = self.stream
        self._openings = Openings(stream.rpc.service, self.connection, stream.timeout)
        if self.stream.in_flight < 1:
            raise errors.InvalidRequest.of("in_flight", "must be at least 1")

    @property
    def has_room(self) -> bool:
        return len(self._taken) < self.stream.in_flight

    @property
    def is_settled(self) -> bool:
        return not self._taken

    def take(self, batch: Sequence[Content]) -> StreamedResult | None:
        """Take the next batch; returns its error where it cannot even be sent."""
        index, self._count = self._count, self._count + 1
        try:
            request = self.stream.request(index, batch)
        except errors.InvalidRequest as error:
            return StreamedResult(index, None, error)
        self._taken[request.id] = _Taken(request)
        self.to_send.append(request)
        return None

    def opening(self) -> dict[str, Any]:
        """The timeout and the metadata to open the stream with, on which all is to be sent."""
        self.to_send = deque(one.request for one in self._taken.values())
        return self._openings.begin()

    def settle(self, response: EncodeStreamResponse) -> StreamedResult | float:
        """Take an answer in: returns it, or the seconds to wait before the batch is sent again.

        Raises Internal for an answer to nothing.
        """
        taken = self._taken.get(response.id)
        if taken is None:
            raise errors.Internal(f"the encoder answered {response.id!r}, which was not asked")
        taken.attempts += 1
        self._broken = 0
        answer = convert.streamed_from(int(response.id), response)
        pause = self._pause_after(answer.error, taken.attempts)
        if pause is None:
            del self._taken[response.id]
            return answer
        self.to_send.append(taken.request)
        return pause

    def broke(self, error: grpc.RpcError) -> float:
        """Seconds to wait before the stream is opened again; raises the error where it is not."""
        ours = self._openings.translated(error)
        self._broken += 1
        pause = self._pause_after(ours, self._broken)
        if pause is None:
            raise ours from error
        return pause

    def _pause_after(self, error: errors.ServiceError | None, attempts: int) -> float | None:
        pause = self.connection.retries.pause_after(error, attempts) if error else None
        left = self._openings.left()
        return None if pause is None or (left is not None and pause >= left) else pause
