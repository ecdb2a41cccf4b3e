"""What a call brought along, readable anywhere below its handler, and what to pass on to the next.

encoder.Encode(request, metadata=outgoing_metadata(), timeout=remaining_seconds())
"""

from __future__ import annotations

import os
import re
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

REQUEST_ID_KEY = "x-request-id"
CALLER_KEY = "searchmesh-caller"
TRACEPARENT_KEY = "traceparent"
TRACESTATE_KEY = "tracestate"

_ATTEMPTS_KEY = "grpc-previous-rpc-attempts"

_KEYS = frozenset((REQUEST_ID_KEY, CALLER_KEY, TRACEPARENT_KEY, TRACESTATE_KEY, _ATTEMPTS_KEY))

_NAME = re.compile(r"[\x21-\x7e]{1,128}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[\x21-\x7e]*)?")
_MOST_TRACESTATE_CHARACTERS = 512


class CallContext(NamedTuple):
    """One call as the servicer's helpers see it."""

    request_id: str
    """1 to 128 visible ASCII characters; from the caller, or made here."""

    caller: str
    """Who calls, in its own words; empty where it did not say. Not proof of anything."""

    deadline: float | None
    """When the caller stops waiting, on the clock of time.monotonic; None for a stream without."""

    traceparent: str = ""
    tracestate: str = ""

    repeated: bool = False
    """Whether the caller's gRPC says that it made the call before, by its retry policy."""


_current: ContextVar[CallContext | None] = ContextVar("searchmesh_call", default=None)


def current() -> CallContext | None:
    """The call that this task serves; None outside of any."""
    return _current.get()


def enter(call: CallContext) -> None:
    """Make a call the current one; holds until the task ends, as each call is a task of its own."""
    _current.set(call)


def remaining_seconds() -> float | None:
    """Time until the current call's deadline, at least 0; None without a deadline."""
    call = _current.get()
    if call is None or call.deadline is None:
        return None
    return max(0.0, call.deadline - time.monotonic())


def outgoing_metadata() -> tuple[tuple[str, str], ...]:
    """Metadata that carries request id, caller and trace on to another service."""
    call = _current.get()
    if call is None:
        return ()
    carried = (
        (REQUEST_ID_KEY, call.request_id),
        (CALLER_KEY, call.caller),
        (TRACEPARENT_KEY, call.traceparent),
        (TRACESTATE_KEY, call.tracestate),
    )
    return tuple((key, value) for key, value in carried if value)


def from_metadata(
    metadata: Iterable[tuple[str, str | bytes]], deadline: float | None
) -> CallContext:
    """Read a call's metadata; what does not look as it should counts as not there."""
    given = {key: value for key, value in metadata if key in _KEYS}
    traceparent = _matching(_TRACEPARENT, given.get(TRACEPARENT_KEY))
    tracestate = given.get(TRACESTATE_KEY, "") if traceparent else ""
    return CallContext(
        _matching(_NAME, given.get(REQUEST_ID_KEY)) or os.urandom(16).hex(),
        _matching(_NAME, given.get(CALLER_KEY)),
        deadline,
        traceparent,
        tracestate[:_MOST_TRACESTATE_CHARACTERS] if isinstance(tracestate, str) else "",
        _ATTEMPTS_KEY in given,
    )


def _matching(pattern: re.Pattern[str], value: str | bytes | None) -> str:
    return value if isinstance(value, str) and pattern.fullmatch(value) else ""
