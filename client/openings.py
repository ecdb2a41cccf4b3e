"""The times that one stream is opened: what blocking and asyncio streams have in common."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from searchmesh import errors
from searchmesh.request_ids import current_or_new

if TYPE_CHECKING:
    import grpc

    from searchmesh.connection import Connection, Service


class Openings:
    """Passes the time that is left on to each opening, and says when to open again."""

    def __init__(self, service: Service, connection: Connection, timeout: float | None) -> None:
        """timeout: seconds for all of the stream; None: for ever. Raises InvalidRequest."""
        if timeout is not None and not timeout > 0:
            raise errors.InvalidRequest.of("timeout", f"{timeout} given, must be above 0 seconds")
        self._service = service
        self._connection = connection
        self._timeout = timeout
        self._started = time.monotonic()
        self._broken_since: float | None = None
        self._breaks = 0
        self._request_id = current_or_new()

    def begin(self) -> dict[str, Any]:
        """The timeout and the metadata to open the stream with."""
        return {"timeout": self.left(), "metadata": self._connection.metadata(self._request_id)}

    def advanced(self) -> None:
        """Something came of the stream: patience starts anew."""
        self._broken_since = None
        self._breaks = 0

    def translated(self, error: grpc.RpcError) -> errors.ServiceError:
        """What ended the stream, in our words."""
        address, timeout = self._connection.address(self._service), self._timeout or 0.0
        ours = errors.of_call(error, service=self._service, address=address, timeout=timeout)
        if isinstance(ours, errors.Unreachable) and self.left() == 0:
            ours = errors.too_late(self._service, address, timeout)
        ours.add_note(f"request id: {self._request_id}")
        return ours

    def pause_after(self, error: errors.ServiceError) -> float:
        """Seconds to wait before the stream is opened again; raises the error where it is not."""
        now = time.monotonic()
        self._broken_since = self._broken_since or now
        self._breaks += 1
        pause = self._connection.retries.pause_before_reopening(
            error, self._breaks, now - self._broken_since
        )
        left = self.left()
        if pause is None or (left is not None and pause >= left):
            raise error
        return pause

    def left(self) -> float | None:
        """Seconds that are left of the stream's."""
        if self._timeout is None:
            return None
        return max(0.0, self._started + self._timeout - time.monotonic())
