"""`searchmesh classify`."""

from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from searchmesh.cli.facets import shown_value
from searchmesh.cli.output import table
from searchmesh.cli.searching import hits_table, parse_vector
from searchmesh.cli.session import session_of
from searchmesh.client import Client
from searchmesh.queries import DocumentId, Query
from searchmesh.results import ClassifyResult


def classify(
    context: typer.Context,
    collection: Annotated[str, typer.Argument(metavar="COLLECTION", help="Whose documents vote.")],
    field: Annotated[
        str, typer.Argument(metavar="FIELD", help="The declared attribute that holds the class.")
    ],
    text: Annotated[
        str | None,
        typer.Argument(metavar="TEXT", help="What to classify, in words.", show_default=False),
    ] = None,
    vector: Annotated[
        str | None,
        typer.Option(
            metavar="JSON|@FILE", help="Instead of a text: a list of numbers, or a file with one."
        ),
    ] = None,
    document_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Instead of a text: a document.")
    ] = None,
    neighbours: Annotated[int, typer.Option(min=1, max=1000, help="Documents that vote.")] = 5,
    filter_: Annotated[
        str,
        typer.Option(
            "--filter",
            metavar="FILTER",
            help="Only documents that it is true for vote, as `year >= 2020`.",
        ),
    ] = "",
) -> None:
    """Name the class of a text, a vector or a document by a vote of the documents nearest to it."""
    query = _query(text, vector, document_id)
    session = session_of(context)
    with Client(session.connection) as mesh:
        found = mesh.classify(collection, query, field, neighbours=neighbours, filter=filter_)
    session.output.answer(found, lambda: _render(field, found))


def _query(text: str | None, vector: str | None, document_id: str | None) -> Query:
    if sum(given is not None for given in (text, vector, document_id)) != 1:
        raise typer.BadParameter("give exactly one of TEXT, --vector and --id")
    if vector is not None:
        return parse_vector(vector)
    return DocumentId(document_id) if document_id is not None else text or ""


def _render(field: str, found: ClassifyResult) -> RenderableType:
    votes = table(
        (">share", ">documents", field),
        [(f"{one.share:.3f}", one.count, shown_value(one.value)) for one in found.votes],
    )
    return Group(votes, Text(), hits_table(found.neighbours, found.metric.lower()))
