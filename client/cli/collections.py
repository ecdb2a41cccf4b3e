"""`searchmesh collections`: list, create, get and delete."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from searchmesh.cli.confirming import confirm
from searchmesh.cli.output import table
from searchmesh.cli.session import session_of
from searchmesh.client import Client
from searchmesh.resources import (
    Collection,
    Field,
    FieldType,
    Index,
    IndexType,
    Metric,
    Segmentation,
    VectorKind,
    VectorSpace,
)

app = typer.Typer(
    help="List, create, show and delete collections. Alone: list.", invoke_without_command=True
)

_Name = Annotated[str, typer.Argument(metavar="NAME", help="The collection's name.")]


@app.callback()
def default(context: typer.Context) -> None:
    """List, create, show and delete collections. Alone: list."""
    if context.invoked_subcommand is None:
        list_(context)


@app.command("list")
def list_(context: typer.Context) -> None:
    """List the collections by name."""
    session = session_of(context)
    with Client(session.connection) as mesh:
        found = list(mesh.list_collections())
    session.output.answer(found, lambda: collections_table(found))


@app.command("get")
def get(context: typer.Context, name: _Name) -> None:
    """Show one collection."""
    session = session_of(context)
    with Client(session.connection) as mesh:
        found = mesh.get_collection(name)
    session.output.answer(found, lambda: _details(found))


@app.command("create")
def create(
    context: typer.Context,
    name: _Name,
    model: Annotated[
        str, typer.Option(help="The encoder's model that encodes its contents; see `models`.")
    ] = "",
    dimension: Annotated[
        int | None,
        typer.Option(min=1, max=32768, help="Instead of a model: length of vectors you bring."),
    ] = None,
    metric: Annotated[
        Metric | None,
        typer.Option(case_sensitive=False, help="With --dimension: how near two vectors are."),
    ] = None,
    binary: Annotated[
        bool, typer.Option("--binary", help="With --dimension: vectors of bits.")
    ] = False,
    field: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME:TYPE",
            help="An attribute to declare for filters: string, int64, double or bool. Repeatable.",
        ),
    ] = None,
    segments: Annotated[
        bool,
        typer.Option("--segments", help="With --model: a vector for each passage of a text."),
    ] = False,
    index: Annotated[
        IndexType | None,
        typer.Option(case_sensitive=False, help="How the engine finds neighbours."),
    ] = None,
) -> None:
    """Create a collection: of a model, or of vectors that you bring."""
    if bool(model) == (dimension is not None):
        raise typer.BadParameter("give exactly one of --model and --dimension")
    session = session_of(context)
    space = dimension and VectorSpace(
        dimension,
        metric or Metric.UNSPECIFIED,
        VectorKind.BINARY if binary else VectorKind.FLOAT,
    )
    with Client(session.connection) as mesh:
        made = mesh.create_collection(
            name,
            model=model,
            space=space or None,
            fields=declared_fields(field or ()),
            segmentation=Segmentation.SEGMENTS if segments else Segmentation.WHOLE,
            index=Index(index) if index else None,
        )
    session.output.answer(made, lambda: _details(made))


@app.command("delete")
def delete(
    context: typer.Context,
    name: _Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a collection with all its documents."""
    session = session_of(context)
    with Client(session.connection) as mesh:
        if not yes:
            count = mesh.count_documents(name)
            confirm(f"Delete {name} and its {count:,} documents?")
        mesh.delete_collection(name)
    session.output.answer({"deleted": name}, lambda: Text(f"deleted {name}"))


def declared_fields(declarations: Sequence[str]) -> list[Field]:
    """Fields of `NAME:TYPE`. Raises BadParameter."""
    fields = []
    for declaration in declarations:
        name, _, kind = declaration.partition(":")
        try:
            fields.append(Field(name, FieldType(kind.upper())))
        except ValueError as error:
            raise typer.BadParameter(
                f"--field {declaration}: must be NAME:TYPE with a TYPE of"
                " string, int64, double or bool"
            ) from error
    return fields


def collections_table(found: list[Collection]) -> RenderableType:
    return table(
        ("collection", ">documents", "vectors", "index", "updated"),
        [
            (
                collection.name,
                f"{collection.document_count:,}",
                _vectors(collection),
                collection.index.type.lower(),
                f"{collection.update_time:%Y-%m-%d %H:%M}" if collection.update_time else "",
            )
            for collection in found
        ],
    )


def _vectors(collection: Collection) -> str:
    return f"{collection.model or 'given'} ({collection.space.dimension})"


def _details(collection: Collection) -> RenderableType:
    rows: list[tuple[str, object]] = [
        ("documents", f"{collection.document_count:,}"),
        ("model", collection.model or "none: vectors are given"),
        ("dimension", collection.space.dimension),
        ("metric", collection.space.metric.lower()),
        ("kind", collection.space.kind.lower()),
        ("segmentation", collection.segmentation.lower()),
        ("index", collection.index.type.lower()),
        ("fingerprint", collection.fingerprint or "none"),
        ("created", collection.create_time or ""),
        ("updated", collection.update_time or ""),
    ]
    rows += [(f"field {field.name}", field.type.lower()) for field in collection.fields]
    return Group(Text(collection.name, style="bold"), table(("", ""), rows))
