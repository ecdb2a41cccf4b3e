"""Questions before what cannot be undone."""

import sys

import typer

from searchmesh.errors import InvalidRequest


def confirm(question: str) -> None:
    """Raises Abort where the answer is no, InvalidRequest where there is nobody to ask."""
    try:
        typer.confirm(question, abort=True, err=True)
    except typer.Abort as error:
        # an answer may be piped in; it may also be missing
        if sys.stdin.isatty():
            raise
        raise InvalidRequest.of(
            "", "not confirmed, and there is no terminal to ask at: give --yes"
        ) from error
