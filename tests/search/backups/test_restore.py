"""Backups that come back, and those that do not."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from searchmesh_common.errors import DataLoss, FailedPrecondition
from searchmesh_search.backups.backup import back_up
from searchmesh_search.backups.restore import restore
from searchmesh_search.content_store import ContentStore, pack_path
from searchmesh_search.journal import Journal
from tests.search.test_content_store import packs

from .homes import Hearer, a_home, places

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.search.test_content_collector_model import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Of which there is a backup."""
    async with a_home(tmp_path / "home") as world:
        back_up(places(world.folder), tmp_path / "backup", Hearer())
        yield world


async def test_all_that_the_journal_points_to_is_there(world: World, tmp_path: Path) -> None:
    heard = Hearer()
    restored = restore(tmp_path / "backup", places(tmp_path / "new"), heard)
    assert (restored.collections, restored.documents) == (1, 3)
    assert all(done == total > 0 for done, total in heard.parts.values())
    assert places(tmp_path / "new").engine.exists()
    journal = Journal(f"sqlite:///{tmp_path}/new/journal.db")
    contents = ContentStore(tmp_path / "new" / "contents")
    await journal.open()
    await contents.open()
    try:
        await replace(world, journal=journal, contents=contents).check()
    finally:
        await contents.close()
        await journal.close()


async def test_state_that_is_there_is_never_written_over(world: World, tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="another search service uses the journal"):
        restore(tmp_path / "backup", places(world.folder), Hearer())
    new = places(tmp_path / "new")
    for path in (new.journal, new.engine, pack_path(new.contents, "0" * 32)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"mine")
        with pytest.raises(FailedPrecondition, match=f"{path} exists"):
            restore(tmp_path / "backup", new, Hearer())
        assert path.read_bytes() == b"mine"
        path.unlink()
    restore(tmp_path / "backup", new, Hearer())


def without_manifest(backup: Path) -> None:
    (backup / "backup.json").unlink()


def with_damaged_manifest(backup: Path) -> None:
    (backup / "backup.json").write_text('{"format": 1, "time"')


def with_incomplete_manifest(backup: Path) -> None:
    (backup / "backup.json").write_text('{"format": 1}')


def of_other(**values: object) -> Callable[[Path], None]:
    def change(backup: Path) -> None:
        path = backup / "backup.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return change


def with_damaged_pack(backup: Path) -> None:
    pack = packs(backup / "contents")[0]
    pack.write_bytes(pack.read_bytes()[:-1] + b"?")


def with_short_engine(backup: Path) -> None:
    engine = backup / "engine.db"
    engine.write_bytes(engine.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (without_manifest, FailedPrecondition, "is no backup, or one that was not finished"),
        (with_damaged_manifest, DataLoss, r"backup\.json is damaged"),
        (with_incomplete_manifest, DataLoss, r"backup\.json is damaged"),
        (of_other(packs={"../../x": {"bytes": 1, "sha256": ""}}), DataLoss, "cannot be one"),
        (of_other(format=2, version="7.1"), FailedPrecondition, r"restore it with version 7\.1"),
        (of_other(schema="9999"), FailedPrecondition, "which a newer version"),
        (with_damaged_pack, DataLoss, r"\.pack is damaged"),
        (with_short_engine, DataLoss, r"engine\.db is damaged"),
    ],
)
async def test_what_is_no_whole_backup_brings_nothing(
    world: World,
    tmp_path: Path,
    change: Callable[[Path], None],
    error: type[Exception],
    told: str,
) -> None:
    change(tmp_path / "backup")
    new = places(tmp_path / "new")
    with pytest.raises(error, match=told):
        restore(tmp_path / "backup", new, Hearer())
    assert not new.journal.exists()
    assert not new.engine.exists()
    assert not new.contents.exists()
