"""The attempts of one call within its time: what blocking and asyncio calls have in common."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc

from searchmesh import errors
from searchmesh.request_ids import current_or_new

if TYPE_CHECKING:
    from collections.abc import Iterator

    from searchmesh.connection import Connection
    from searchmesh.errors import ServiceError
    from searchmesh.rpc import Call


class Attempts:
    """Counts attempts, passes the time that is left on to each, and translates their failures."""

    def __init__(self, call: Call[Any], connection: Connection) -> None:
        """Raises InvalidRequest where the call is given no time at all."""
        self._service = call.rpc.service
        self._connection = connection
        wanted = (call.timeout, connection.timeout, call.default_timeout)
        self._timeout = next(one for one in wanted if one is not None)
        if not self._timeout > 0:
            raise errors.InvalidRequest.of(
                "timeout", f"{self._timeout} given, must be above 0 seconds"
            )
        self._deadline = time.monotonic() + self._timeout
        self._request_id = current_or_new()
        self._made = 0

    def begin(self) -> dict[str, Any]:
        """Start an attempt; returns the timeout and the metadata to call with."""
        self._made += 1
        return {
            "timeout": max(0.0, self._deadline - time.monotonic()),
            "metadata": self._connection.metadata(self._request_id),
        }

    @contextmanager
    def translating(self) -> Iterator[None]:
        """Raise gRPC's errors as ours; their traceback shows the request id, for the logs."""
        try:
            yield
        except grpc.RpcError as error:
            ours = errors.of_call(
                error,
                service=self._service,
                address=self._connection.address(self._service),
                timeout=self._timeout,
            )
            ours.add_note(f"request id: {self._request_id}")
            raise ours from error

    def pause_after(self, error: ServiceError) -> float | None:
        """Seconds to wait before the next attempt; None where there must be none."""
        pause = self._connection.retries.pause_after(error, self._made)
        if pause is None or time.monotonic() + pause >= self._deadline:
            return None
        return pause
