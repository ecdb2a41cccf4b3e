"""`searchmesh recommend`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from searchmesh.cli.searching import field_names, hits_table
from searchmesh.cli.session import session_of
from searchmesh.client import Client
from searchmesh.queries import DocumentId, Query
from searchmesh.resources import RecommendStrategy


def recommend(
    context: typer.Context,
    collection: Annotated[str, typer.Argument(metavar="COLLECTION", help="Where to look.")],
    like: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="A document that was liked. Repeatable."),
    ] = None,
    like_text: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="A text that was liked. Repeatable.")
    ] = None,
    dislike: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="A document that was not liked. Repeatable."),
    ] = None,
    dislike_text: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="A text that was not liked. Repeatable."),
    ] = None,
    strategy: Annotated[
        RecommendStrategy,
        typer.Option(case_sensitive=False, help="How the examples become a query."),
    ] = RecommendStrategy.AVERAGE,
    seen: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID|@FILE",
            help="A document that must not be recommended, or a file with one ID a line. "
            "Repeatable.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most hits.")] = 10,
    fields: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[,NAME…]", help="What hits carry; as of `search`."),
    ] = None,
    filter_: Annotated[
        str,
        typer.Option(
            "--filter",
            metavar="FILTER",
            help='Only documents that it is true for, as `year >= 2020 AND NOT kind = "draft"`.',
        ),
    ] = "",
) -> None:
    """Find documents like those that were liked and unlike those that were not, best first."""
    liked = _examples(like, like_text)
    if not liked:
        raise typer.BadParameter("give --like or --like-text")
    session = session_of(context)
    with Client(session.connection) as mesh:
        result = mesh.recommend(
            collection,
            liked,
            _examples(dislike, dislike_text),
            strategy=strategy,
            seen_ids=[one for given in seen or () for one in _ids(given)],
            limit=limit,
            filter=filter_,
            output_fields=field_names(fields or ()),
        )
    score = "score" if strategy is RecommendStrategy.SUM else result.metric.lower()
    session.output.answer(result, lambda: hits_table(result.hits, score))


def _examples(ids: Sequence[str] | None, texts: Sequence[str] | None) -> list[Query]:
    return [*(DocumentId(one) for one in ids or ()), *(texts or ())]


def _ids(given: str) -> list[str]:
    if not given.startswith("@"):
        return [given]
    try:
        return Path(given[1:]).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"--seen {given} is not a file of IDs: {error}") from error
