"""`searchmesh facets`."""

import json
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from searchmesh.cli.output import table
from searchmesh.cli.session import session_of
from searchmesh.client import Client
from searchmesh.results import FacetResult


def facets(
    context: typer.Context,
    collection: Annotated[str, typer.Argument(metavar="COLLECTION", help="Where to count.")],
    field: Annotated[
        str, typer.Argument(metavar="FIELD", help="A declared attribute, by whose values.")
    ],
    filter_: Annotated[
        str,
        typer.Option(
            "--filter",
            metavar="FILTER",
            help='Only documents that it is true for, as `year >= 2020 AND NOT kind = "draft"`.',
        ),
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most values.")] = 10,
) -> None:
    """Count documents by the values of an attribute, the most frequent first."""
    session = session_of(context)
    with Client(session.connection) as mesh:
        found = mesh.facets(collection, field, filter=filter_, limit=limit)
    session.output.answer(found, lambda: _render(field, found))


def _render(field: str, found: FacetResult) -> RenderableType:
    rows = table(
        (">documents", field), [(f"{one.count:,}", shown_value(one.value)) for one in found.facets]
    )
    if not found.other_count:
        return rows
    return Group(rows, Text(f"and {found.other_count:,} with other values", style="dim"))


def shown_value(value: Any) -> str:
    """An attribute's value, strings without quotes."""
    return value if isinstance(value, str) else json.dumps(value)
