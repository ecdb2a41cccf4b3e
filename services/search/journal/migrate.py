"""Brings a journal's schema to this version, or refuses."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from searchmesh_common.errors import FailedPrecondition
from searchmesh_common.logs import fields

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_log = logging.getLogger("searchmesh.journal")
# it tells of its own inner workings at every start
logging.getLogger("alembic").setLevel(logging.WARNING)

_MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(engine: Engine) -> None:
    """Run the migrations that the journal lacks, in one transaction.

    Raises FailedPrecondition when a newer version of the service has written it.
    """
    config = _config()
    with engine.begin() as connection:
        before = schema_of(connection)
        require_known(before)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        after = schema_of(connection)
    if after != before:
        _log.info("journal migrated", extra=fields(before=before or "nothing", after=after))


def schema_of(connection: Connection) -> str | None:
    """The revision that a journal has; None for an empty one."""
    return MigrationContext.configure(connection).get_current_revision()


def current_schema() -> str:
    """The revision that this version writes."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


def require_known(schema: str | None) -> None:
    """Raises FailedPrecondition for the revision of a newer version."""
    scripts = ScriptDirectory.from_config(_config())
    known = {script.revision for script in scripts.walk_revisions()}
    if schema is not None and schema not in known:
        raise FailedPrecondition(
            "JOURNAL_TOO_NEW",
            f"the journal has schema {schema}, which a newer version of the search service wrote; "
            "start that version, or restore a copy of the journal from before the upgrade",
            {"schema": schema},
        )


def _config() -> Config:
    config = Config()
    # Alembic reads the option as a format string
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
