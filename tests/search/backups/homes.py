"""Homes to back up, without a service."""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING

from searchmesh_search.backups.places import Places
from tests.search.test_content_collector_model import World, a_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Hearer:
    """Remembers the last that it heard of each part."""

    def __init__(self) -> None:
        self.parts: dict[str, tuple[int, int]] = {}

    def copied(self, part: str, done_bytes: int, total_bytes: int) -> None:
        self.parts[part] = (done_bytes, total_bytes)


def places(home: Path) -> Places:
    return Places(home / "journal.db", home / "milvus.db", home / "contents")


@asynccontextmanager
async def a_home(home: Path) -> AsyncIterator[World]:
    """Documents, writes in hand and a batch of an import; any database in the place of the
    engine's file."""
    home.mkdir()  # noqa: ASYNC240
    with closing(sqlite3.connect(places(home).engine)) as engine:
        engine.execute("PRAGMA journal_mode=WAL")
        engine.execute("CREATE TABLE rows (id TEXT)")
        async with a_world(home) as world:
            await world.upsert("abc")
            await world.receive("de")
            await world.begin("fg")
            yield world
