"""`searchmesh documents`: count and delete."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.text import Text

from searchmesh.cli.confirming import confirm
from searchmesh.cli.session import session_of
from searchmesh.client import Client

app = typer.Typer(help="Count and delete documents.", no_args_is_help=True)

_Collection = Annotated[
    str, typer.Argument(metavar="COLLECTION", help="The collection they are in.")
]
_Filter = Annotated[
    str,
    typer.Option(
        "--filter",
        metavar="FILTER",
        help='Only those that it is true for, as `year >= 2020 AND NOT kind = "draft"`.',
    ),
]


@app.command("count")
def count(context: typer.Context, collection: _Collection, filter_: _Filter = "") -> None:
    """Count the documents of a collection, or those that a filter is true for."""
    session = session_of(context)
    with Client(session.connection) as mesh:
        found = mesh.count_documents(collection, filter=filter_)
    session.output.answer({"count": found}, lambda: Text(f"{found:,}"))


@app.command("delete")
def delete(
    context: typer.Context,
    collection: _Collection,
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID…", help="At most 1000 of them.")
    ] = None,
    filter_: _Filter = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete documents by id, or all that a filter is true for.

    An id that starts with a dash goes after `--`.
    """
    if bool(ids) == bool(filter_):
        raise typer.BadParameter("give ids or --filter")
    session = session_of(context)
    with Client(session.connection) as mesh:
        if not yes:
            confirm(_question(mesh, collection, ids or (), filter_))
        gone = mesh.delete_documents(collection, ids or (), filter=filter_)
    session.output.answer(
        {"deleted_count": gone.deleted_count}, lambda: Text(f"deleted {gone.deleted_count:,}")
    )


def _question(mesh: Client, collection: str, ids: Sequence[str], filter_: str) -> str:
    if ids:
        return f"Delete {len(ids):,} documents of {collection}?"
    count = mesh.count_documents(collection, filter=filter_)
    return f"Delete the {count:,} documents of {collection} that the filter is true for?"
