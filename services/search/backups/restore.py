"""Brings a backup back, to where no state is."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING

from sqlalchemy import URL

from searchmesh_common.errors import FailedPrecondition
from searchmesh_search.backups.copying import copy_file, require_same
from searchmesh_search.backups.manifest import (
    Manifest,
    contents_path,
    engine_path,
    journal_path,
)
from searchmesh_search.content_store import SUFFIX, pack_path
from searchmesh_search.journal.migrate import require_known
from searchmesh_search.journal.sqlite import SqliteDatabase
from searchmesh_search.sync_folder import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from searchmesh_search.backups.copying import Listener
    from searchmesh_search.backups.manifest import StoredFile
    from searchmesh_search.backups.places import Places


def restore(folder: Path, places: Places, listener: Listener) -> Manifest:
    """Copy a backup to where the service keeps its state, which must be empty.

    The journal comes last, so that what was interrupted is not taken for a whole. What fails
    removes what it has brought. Raises FailedPrecondition where the folder is no backup or one of
    a newer version, or where there is state; DataLoss where the backup is damaged; Unavailable and
    OSError where something cannot be read or written.
    """
    manifest = Manifest.read(folder)
    require_known(manifest.schema)
    journal = SqliteDatabase(URL.create("sqlite", database=str(places.journal)))
    journal.acquire()
    try:
        _require_empty(places)
        with _filling(places):
            _copy_packs(manifest, folder, places.contents, listener)
            _copy_one("engine", engine_path(folder), places.engine, manifest.engine, listener)
            _copy_one("journal", journal_path(folder), places.journal, manifest.journal, listener)
    finally:
        journal.release()
    return manifest


def _require_empty(places: Places) -> None:
    there = [path for path in (places.journal, places.engine) if path.exists()]
    there += places.contents.glob(f"*/*{SUFFIX}")
    if there:
        raise FailedPrecondition(
            "STATE_THERE", f"{there[0]} exists: a backup is restored to where no state is"
        )


@contextlib.contextmanager
def _filling(places: Places) -> Iterator[None]:
    """Around all that is brought to places that are empty."""
    try:
        yield
    except BaseException:
        for path in (places.journal, places.engine):
            path.unlink(missing_ok=True)
            _part(path).unlink(missing_ok=True)
        shutil.rmtree(places.contents, ignore_errors=True)
        raise


def _copy_packs(manifest: Manifest, folder: Path, target: Path, listener: Listener) -> None:
    done, total = 0, sum(one.bytes for one in manifest.packs.values())

    def count(size: int) -> None:
        nonlocal done
        done += size
        listener.copied("contents", done, total)

    target.mkdir(parents=True, exist_ok=True)
    for name, described in manifest.packs.items():
        source = pack_path(contents_path(folder), name)
        require_same(copy_file(source, pack_path(target, name), count), described, source)
    for path in (*(one for one in target.iterdir() if one.is_dir()), target):
        sync_folder(path)


def _copy_one(
    part: str, source: Path, target: Path, described: StoredFile, listener: Listener
) -> None:
    done = 0

    def count(size: int) -> None:
        nonlocal done
        done += size
        listener.copied(part, done, described.bytes)

    unfinished = _part(target)
    unfinished.unlink(missing_ok=True)
    require_same(copy_file(source, unfinished, count), described, source)
    unfinished.rename(target)
    sync_folder(target.parent)


def _part(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")
