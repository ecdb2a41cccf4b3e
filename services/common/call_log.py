"""A log line for every call, written many at a time so that a call pays little for it."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from searchmesh_common.logs import fields

if TYPE_CHECKING:
    from types import TracebackType

    import grpc

    from searchmesh_common.call_context import CallContext

_log = logging.getLogger("searchmesh.call")

_WAIT_SECONDS = 0.02
"""Lines come this late at most. One line alone costs its call several times as much as one of many,
whose code and data are in the processor's caches."""

# a line is told its call's request id; whatever call happened to set the timer has no part in it
_NO_CALL = contextvars.Context()

ExceptionInfo = tuple[type[BaseException], BaseException, "TracebackType | None"]


@dataclass(slots=True)
class EndedCall:
    """What a line says."""

    level: int
    ended: float
    """Seconds since the epoch."""
    method: str
    code: grpc.StatusCode
    seconds: float
    """How long it took."""
    call: CallContext
    peer: str
    error: str | None
    """What the caller was told, where something went wrong."""
    unexpected: BaseException | None
    """What nobody foresaw, for its stack trace."""


class CallLog:
    """The calls that have ended and whose lines are not written yet; for one event loop."""

    def __init__(self) -> None:
        self._waiting: list[EndedCall] = []
        self._timer: asyncio.TimerHandle | None = None

    def enabled_for(self, level: int) -> bool:
        """Whether lines of a level are written at all."""
        return _log.isEnabledFor(level)

    def add(self, ended: EndedCall) -> None:
        """Write a line for a call soon; at once where it brings a stack trace."""
        self._waiting.append(ended)
        if ended.unexpected:
            self.flush()
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_WAIT_SECONDS, self.flush, context=_NO_CALL)

    def flush(self) -> None:
        """Write what waits; to be called when the server has stopped."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        for ended in waiting:
            _log.handle(_record(ended))


def _record(ended: EndedCall) -> logging.LogRecord:
    said = {} if ended.error is None else {"error": ended.error}
    extra: dict[str, Any] = fields(
        request_id=ended.call.request_id,
        method=ended.method,
        code=ended.code.name,
        milliseconds=round(ended.seconds * 1000, 3),
        caller=ended.call.caller,
        peer=ended.peer,
        **said,
    )
    record = logging.LogRecord(
        _log.name, ended.level, __file__, 0, "call", (), _exception_info(ended.unexpected)
    )
    record.created = ended.ended
    record.__dict__.update(extra)
    return record


def _exception_info(error: BaseException | None) -> ExceptionInfo | None:
    return (type(error), error, error.__traceback__) if error else None
