"""Places: where the service keeps what a backup is made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from searchmesh_common.errors import FailedPrecondition
from searchmesh_search.journal.database import file_of

if TYPE_CHECKING:
    from searchmesh_search.settings import SearchSettings


@dataclass(frozen=True, slots=True)
class Places:
    """Where the service keeps what a backup is made of."""

    journal: Path
    engine: Path
    """The embedded engine's file."""
    contents: Path
    """Folder of the content store."""

    @classmethod
    def of(cls, settings: SearchSettings) -> Places:
        """Raises FailedPrecondition where a server keeps the journal or the rows, which has backups
        of its own, and Unsupported for a journal's URL that is none."""
        journal = file_of(settings.journal_url)
        if journal is None or not settings.has_embedded_engine:
            raise FailedPrecondition(
                "NOT_ALL_FILES",
                "a server keeps the journal or the engine's rows, and nobody can copy both as they "
                "are at one moment; docs/operations.md says how to back them up",
            )
        return cls(journal, Path(settings.engine_uri), settings.contents_folder)
