"""What is in a backup, and what cannot be backed up."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from searchmesh_common.errors import DataLoss, FailedPrecondition, Unavailable
from searchmesh_search.backups.backup import back_up
from searchmesh_search.backups.places import Places
from searchmesh_search.content_collector import ContentCollector
from searchmesh_search.content_store import pack_path
from searchmesh_search.pack_hold import holding
from searchmesh_search.settings import SearchSettings
from tests.search.disks import filled, small_disk
from tests.search.stack import soon
from tests.search.test_content_collector_model import Hearer as Told
from tests.search.test_content_store import packs

from .homes import Hearer, a_home, places

if TYPE_CHECKING:
    from pathlib import Path


async def test_it_is_told_as_it_gets_on(tmp_path: Path) -> None:
    heard = Hearer()
    async with a_home(tmp_path / "home") as world:
        made = back_up(places(world.folder), tmp_path / "backup", heard)
        assert (made.collections, made.documents) == (1, 3)
        assert set(heard.parts) == {"journal", "engine", "contents"}
        assert all(done == total > 0 for done, total in heard.parts.values())


async def test_only_packs_in_use_are_copied(tmp_path: Path) -> None:
    async with a_home(tmp_path / "home") as world:
        world.contents._retire_current()
        await world.lose("h")
        made = back_up(places(world.folder), tmp_path / "backup", Hearer())
        there = {path.stem for path in packs(world.folder / "contents")}
        assert made.packs.keys() < there
        assert {path.stem for path in packs(tmp_path / "backup" / "contents")} == set(made.packs)


async def test_no_pack_is_deleted_while_packs_are_copied(tmp_path: Path) -> None:
    async with a_home(tmp_path / "home") as world:
        await world.lose("h")
        world.contents._retire_current()
        before = packs(world.folder / "contents")
        collector = ContentCollector(world.journal, world.contents, Told())
        with holding(world.folder / "contents"), holding(world.folder / "contents"):
            assert not await collector.collect()
            assert packs(world.folder / "contents") == before
        while await collector.collect():
            pass
        assert len(packs(world.folder / "contents")) < len(before)


async def test_what_cannot_be_backed_up_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    async with a_home(tmp_path / "home") as world:
        folder = tmp_path / "backup"
        folder.mkdir()
        (folder / "mine").touch()
        with pytest.raises(FailedPrecondition, match="backup is not empty"):
            back_up(places(world.folder), folder, Hearer())
        assert [one.name for one in folder.iterdir()] == ["mine"]
        (folder / "mine").unlink()
        with pytest.raises(FailedPrecondition, match=r"other/journal\.db does not exist"):
            back_up(places(tmp_path / "other"), folder, Hearer())
        (name, *_) = (path.stem for path in packs(world.folder / "contents"))
        pack = pack_path(world.folder / "contents", name)
        shutil.move(pack, tmp_path)
        with pytest.raises(DataLoss, match=f"pack {name} of the content store is missing"):
            back_up(places(world.folder), folder, Hearer())
        shutil.move(tmp_path / pack.name, pack)
        newer = text("UPDATE alembic_version SET version_num = '9999'")
        await world.journal.write(lambda c: c.execute(newer).rowcount, soon())
        with pytest.raises(FailedPrecondition, match="schema 9999, this version writes"):
            back_up(places(world.folder), folder, Hearer())
        assert list(folder.iterdir()) == []


async def test_a_backup_to_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=1) as disk, filled(disk, left_bytes=100_000):
        async with a_home(tmp_path / "home") as world:
            with pytest.raises(Unavailable, match=r"journal\.db cannot be copied: .* full"):
                back_up(places(world.folder), disk / "backup", Hearer())
            assert list((disk / "backup").iterdir()) == []


@pytest.mark.parametrize(
    "settings",
    [{"journal": "postgresql://somebody@nowhere/journal"}, {"engine": "http://nowhere:19530"}],
)
def test_what_a_server_keeps_is_not_backed_up(settings: dict[str, str]) -> None:
    with pytest.raises(FailedPrecondition, match=r"docs/operations\.md"):
        Places.of(SearchSettings(**settings))  # type: ignore[arg-type]
