"""What the global options say, as every command gets it."""

from dataclasses import dataclass

import typer

from searchmesh.cli.output import Output
from searchmesh.connection import Connection


@dataclass(frozen=True)
class Session:
    """One run of the command line."""

    connection: Connection
    output: Output


def session_of(context: typer.Context) -> Session:
    """The session that the global options made."""
    session = context.obj
    assert isinstance(session, Session)
    return session
