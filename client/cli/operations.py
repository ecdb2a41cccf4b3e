"""`searchmesh operations`: list, get, watch, cancel and delete."""

from typing import Annotated

import typer
from rich.console import RenderableType
from rich.text import Text

from searchmesh.cli.output import table
from searchmesh.cli.progress import ImportBar, stages
from searchmesh.cli.session import session_of
from searchmesh.client import Client
from searchmesh.results import ImportProgress, ImportState, Operation

_EXIT_NOT_SUCCEEDED = 1

app = typer.Typer(
    help="List, show, follow, cancel and delete imports. Alone: list.", invoke_without_command=True
)

_Name = Annotated[str, typer.Argument(metavar="NAME", help="The operation's: operations/…")]


@app.callback()
def default(context: typer.Context) -> None:
    """List, show, follow, cancel and delete imports. Alone: list."""
    if context.invoked_subcommand is None:
        list_(context)


@app.command("list")
def list_(context: typer.Context) -> None:
    """List the operations that the service keeps, those that have ended too."""
    session = session_of(context)
    with Client(session.connection) as mesh:
        found = list(mesh.list_operations())
    session.output.answer(found, lambda: _table(found))


@app.command("get")
def get(context: typer.Context, name: _Name) -> None:
    """Show one operation as it is now."""
    session = session_of(context)
    with Client(session.connection) as mesh:
        found = mesh.get_operation(name)
    session.output.answer(found, lambda: _details(found.name, found.progress))


@app.command("watch")
def watch(context: typer.Context, name: _Name) -> None:
    """Follow an import to its end; interrupting this does not interrupt the import.

    Exit code: 0 it succeeded, 1 it was cancelled or failed.
    """
    session = session_of(context)
    progress = None
    with Client(session.connection) as mesh, ImportBar(session.output.notes, name) as bar:
        for progress in mesh.watch_import(name):
            bar.show(progress)
    session.output.answer(progress, lambda: _details(name, progress))
    if progress is None or progress.state is not ImportState.SUCCEEDED:
        raise typer.Exit(_EXIT_NOT_SUCCEEDED)


@app.command("cancel")
def cancel(context: typer.Context, name: _Name) -> None:
    """Stop an operation; what it has stored stays."""
    session = session_of(context)
    with Client(session.connection) as mesh:
        mesh.cancel_operation(name)
        found = mesh.get_operation(name)
    session.output.answer(found, lambda: _details(found.name, found.progress))


@app.command("delete")
def delete(context: typer.Context, name: _Name) -> None:
    """Forget an operation that has ended; its documents stay."""
    session = session_of(context)
    with Client(session.connection) as mesh:
        mesh.delete_operation(name)
    session.output.answer({"deleted": name}, lambda: Text(f"deleted {name}"))


def _table(operations: list[Operation]) -> RenderableType:
    columns = ["name", "collection", "state", ">received", ">searchable", ">failed"]
    return table(columns, [_cells(one.name, one.progress) for one in operations])


def _cells(name: str, progress: ImportProgress | None) -> list[object]:
    if progress is None:
        return [name, "", "", "", "", ""]
    counts = (progress.received_count, progress.searchable_count, progress.failed_count)
    return [name, progress.collection, progress.state, *(f"{count:,}" for count in counts)]


def _details(name: str, progress: ImportProgress | None) -> RenderableType:
    if progress is None:
        return Text(name)
    lines = [f"{name}: {progress.state.lower()}, {stages(progress)}"]
    if progress.error:
        lines.append(f"error: {progress.error}")
    lines += [f"  {one.position}: {one.id}: {one.error.message}" for one in progress.failures]
    return Text("\n".join(lines))
