"""Takes a backup of a service's files, also while the service runs."""

from __future__ import annotations

import contextlib
import importlib.metadata
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import URL

from searchmesh_common.errors import DataLoss, FailedPrecondition
from searchmesh_search.backups.copying import copy_database, copy_file
from searchmesh_search.backups.manifest import (
    Manifest,
    contents_path,
    engine_path,
    journal_path,
)
from searchmesh_search.backups.moment import one_moment
from searchmesh_search.content_store import pack_path
from searchmesh_search.journal import collection_rows, content_rows
from searchmesh_search.journal.migrate import current_schema, schema_of
from searchmesh_search.journal.sqlite import SqliteDatabase
from searchmesh_search.pack_hold import holding
from searchmesh_search.sync_folder import sync_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from sqlalchemy import Connection

    from searchmesh_search.backups.copying import Listener
    from searchmesh_search.backups.manifest import StoredFile
    from searchmesh_search.backups.places import Places


@dataclass(frozen=True, slots=True)
class _Known:
    """What the journal knows."""

    schema: str
    collections: int
    documents: int
    packs: Sequence[str]
    """Names of those in use."""


def back_up(places: Places, folder: Path, listener: Listener) -> Manifest:
    """Copy all that the service has acknowledged to a folder, which is made or is empty.

    The service goes on writing; only the deletion of unused contents waits. What fails leaves the
    folder empty. Raises FailedPrecondition where the folder holds anything, where there is nothing
    to back up, or where another version's service runs; DataLoss where contents are missing;
    Unavailable and OSError where something cannot be read or written.
    """
    _require_there(places)
    with _filling(folder), holding(places.contents):
        time = datetime.now(UTC)
        journal, engine = _copy_databases(places, folder, listener)
        known = _read(journal_path(folder))
        packs = _copy_packs(places.contents, known.packs, contents_path(folder), listener)
        manifest = Manifest(
            version=importlib.metadata.version("searchmesh"),
            time=time.isoformat(timespec="milliseconds"),
            schema=known.schema,
            collections=known.collections,
            documents=known.documents,
            journal=journal,
            engine=engine,
            packs=packs,
        )
        manifest.write(folder)
    return manifest


def _require_there(places: Places) -> None:
    for path in (places.journal, places.engine, places.contents):
        if not path.exists():
            raise FailedPrecondition(
                "NOTHING_TO_BACK_UP", f"{path} does not exist; name the service's own settings"
            )


@contextlib.contextmanager
def _filling(folder: Path) -> Iterator[None]:
    """Around all that is put into a folder."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FailedPrecondition("FOLDER_NOT_EMPTY", f"{folder} is not empty; name another folder")
    try:
        yield
    except BaseException:
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise


def _copy_databases(
    places: Places, folder: Path, listener: Listener
) -> tuple[StoredFile, StoredFile]:
    """The journal and the engine's file, as they are at one moment."""
    with one_moment(places.journal, places.engine) as (journal, engine):
        return (
            copy_database(journal, journal_path(folder), partial(listener.copied, "journal")),
            copy_database(engine, engine_path(folder), partial(listener.copied, "engine")),
        )


def _read(journal: Path) -> _Known:
    """What a copy of a journal knows."""
    reader = SqliteDatabase(URL.create("sqlite", database=str(journal))).create_reader(1)
    try:
        with reader.begin() as connection:
            schema = _require_this_schema(connection)
            there = collection_rows.ready(connection)
            return _Known(
                schema,
                len(there),
                sum(one.document_count for one in there),
                list(content_rows.used(connection)),
            )
    finally:
        reader.dispose()


def _require_this_schema(connection: Connection) -> str:
    schema, mine = schema_of(connection), current_schema()
    if schema != mine:
        raise FailedPrecondition(
            "OTHER_SCHEMA",
            f"the journal has schema {schema}, this version writes {mine}; back it up with the "
            "version of the service that runs",
        )
    return mine


def _copy_packs(
    contents: Path, packs: Sequence[str], target: Path, listener: Listener
) -> Mapping[str, StoredFile]:
    target.mkdir()
    done, total = 0, sum(_size(contents, name) for name in packs)

    def count(size: int) -> None:
        nonlocal done
        done += size
        listener.copied("contents", done, max(done, total))

    copied = {
        name: copy_file(pack_path(contents, name), pack_path(target, name), count) for name in packs
    }
    for path in (*target.iterdir(), target):
        sync_folder(path)
    return copied


def _size(contents: Path, name: str) -> int:
    try:
        return pack_path(contents, name).stat().st_size
    except FileNotFoundError:
        raise DataLoss(
            f"pack {name} of the content store is missing: upsert or delete the documents in it, "
            "which GetDocument answers with DATA_LOSS, and back up again"
        ) from None
