"""Manifest: what a backup consists of, written last, so that a folder without one is no backup.

<folder>/backup.json
<folder>/journal.db
<folder>/engine.db
<folder>/contents/…     as in the content store
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from searchmesh_common.errors import DataLoss, FailedPrecondition
from searchmesh_search.sync_folder import sync_folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT = 1

_NAME = "backup.json"
_PACK = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a backup."""

    bytes: int
    sha256: str
    """In hexadecimal."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup consists of."""

    version: str
    """Of the search service that made it."""
    time: str
    """Of its moment, by RFC 3339."""
    schema: str
    """Of the journal."""
    collections: int
    documents: int
    journal: StoredFile
    engine: StoredFile
    packs: Mapping[str, StoredFile]
    """By name."""

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(one.bytes for one in (self.journal, self.engine, *self.packs.values()))

    def summary(self) -> dict[str, Any]:
        """What there is to say of it, for JSON."""
        return {
            "version": self.version,
            "time": self.time,
            "schema": self.schema,
            "collections": self.collections,
            "documents": self.documents,
            "packs": len(self.packs),
            "bytes": self.bytes,
        }

    def write(self, folder: Path) -> None:
        """Make a backup of a folder that holds all else. Raises OSError."""
        unfinished = folder / f"{_NAME}.part"
        with unfinished.open("w", encoding="utf-8") as file:
            json.dump({"format": FORMAT, **asdict(self)}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(folder / _NAME)
        sync_folder(folder)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Raises FailedPrecondition where the folder is no backup, or one of a newer version, and
        DataLoss where the manifest is damaged."""
        path = folder / _NAME
        try:
            described = json.loads(path.read_bytes())
        except FileNotFoundError:
            raise FailedPrecondition(
                "NO_BACKUP", f"{folder} is no backup, or one that was not finished: no {_NAME}"
            ) from None
        except ValueError as error:
            raise DataLoss(f"{path} is damaged: {error}") from error
        return cls._from(described, path)

    @classmethod
    def _from(cls, described: Any, path: Path) -> Manifest:
        try:
            given = dict(described)
            if (made_as := given.pop("format")) != FORMAT:
                raise FailedPrecondition(
                    "BACKUP_TOO_NEW",
                    f"{path} has format {made_as}, this version reads {FORMAT}; restore it with "
                    f"version {given.get('version')}",
                )
            packs = {name: StoredFile(**one) for name, one in given.pop("packs").items()}
            journal, engine = (StoredFile(**given.pop(name)) for name in ("journal", "engine"))
            manifest = cls(**given, journal=journal, engine=engine, packs=packs)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataLoss(f"{path} is damaged: {error!r}") from error
        if not all(_PACK.fullmatch(name) for name in packs):
            raise DataLoss(f"{path} is damaged: it names a pack that cannot be one")
        return manifest


def journal_path(folder: Path) -> Path:
    """Of the journal in a backup."""
    return folder / "journal.db"


def engine_path(folder: Path) -> Path:
    """Of the embedded engine's file in a backup."""
    return folder / "engine.db"


def contents_path(folder: Path) -> Path:
    """Of the content store's folder in a backup."""
    return folder / "contents"
