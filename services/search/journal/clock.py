"""The journal's times: microseconds since 1970, UTC, by the database's clock, because it is the
only one that all who share the journal agree on.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Connection, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

if TYPE_CHECKING:
    import sqlite3

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

SECOND_US = 1_000_000


class _Now(FunctionElement[int]):
    type = BigInteger()
    inherit_cache = True


NOW_US = _Now()
"""The time at which a statement begins, for use inside it."""


@compiles(_Now, "sqlite")
def _now_of_sqlite(_element: _Now, _compiler: Any, **_named: Any) -> str:
    return "now_us()"


@compiles(_Now, "postgresql")
def _now_of_postgresql(_element: _Now, _compiler: Any, **_named: Any) -> str:
    # not the transaction's time, which stands still while the transaction waits for its turn
    return "CAST(extract(epoch FROM statement_timestamp()) * 1000000 AS BIGINT)"


def give_clock(connection: sqlite3.Connection) -> None:
    """Let SQLite, whose own clock counts milliseconds, ask ours."""
    connection.create_function("now_us", 0, lambda: time.time_ns() // 1_000)


def now_us(connection: Connection) -> int:
    """The time now."""
    return int(connection.execute(select(NOW_US)).scalar_one())


def to_datetime(time_us: int) -> datetime:
    """A time of the journal, exactly, aware of its zone."""
    return _EPOCH + timedelta(microseconds=time_us)
