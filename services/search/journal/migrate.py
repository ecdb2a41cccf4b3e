"""Brings a journal's schema to this version, or refuses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from searchmesh_common.errors import FailedPrecondition

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(engine: Engine) -> None:
    """Run the migrations that the journal lacks, in one transaction.

    Raises FailedPrecondition when a newer version of the service has written it.
    """
    config = Config()
    # Alembic reads the option as a format string
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        _refuse_newer(connection, ScriptDirectory.from_config(config))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _refuse_newer(connection: Connection, scripts: ScriptDirectory) -> None:
    known = {script.revision for script in scripts.walk_revisions()}
    unknown = [
        one
        for one in MigrationContext.configure(connection).get_current_heads()
        if one not in known
    ]
    if unknown:
        raise FailedPrecondition(
            "JOURNAL_TOO_NEW",
            f"the journal has schema {', '.join(unknown)}, which a newer version of the search "
            "service wrote; start that version, or restore a copy of the journal from before the "
            "upgrade",
            {"schema": ", ".join(unknown)},
        )
