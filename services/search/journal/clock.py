"""The journal's times: microseconds since 1970, UTC."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now_us() -> int:
    """The current time as the journal keeps it."""
    return time.time_ns() // 1_000


def to_datetime(time_us: int) -> datetime:
    """A time of the journal, exactly, aware of its zone."""
    return _EPOCH + timedelta(microseconds=time_us)
