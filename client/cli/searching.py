"""`searchmesh search`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Group, RenderableType
from rich.text import Text

from searchmesh.cli.output import plain, table
from searchmesh.cli.session import session_of
from searchmesh.client import Client
from searchmesh.queries import Diversity
from searchmesh.results import Explain, Hit, SearchResult

_MOST_CHARACTERS = 300


def search(
    context: typer.Context,
    collection: Annotated[str, typer.Argument(metavar="COLLECTION", help="Where to search.")],
    text: Annotated[
        str | None,
        typer.Argument(metavar="TEXT", help="What to search for, in words.", show_default=False),
    ] = None,
    vector: Annotated[
        str | None,
        typer.Option(
            metavar="JSON|@FILE", help="Instead of a text: a list of numbers, or a file with one."
        ),
    ] = None,
    document_id: Annotated[
        str | None,
        typer.Option("--id", metavar="ID", help="Instead of a text: find what is like a document."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most hits.")] = 10,
    offset: Annotated[int, typer.Option(min=0, max=10000, help="Best hits to pass over.")] = 0,
    fields: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[,NAME…]",
            help="What hits carry: attributes, * for all of them, $content for the content, "
            "$id for nothing more. Repeatable. Default: *",
        ),
    ] = None,
    filter_: Annotated[
        str,
        typer.Option(
            "--filter",
            metavar="FILTER",
            help='Only documents that it is true for, as `year >= 2020 AND NOT kind = "draft"`.',
        ),
    ] = "",
    min_score: Annotated[float | None, typer.Option(help="Least score of a hit.")] = None,
    group_by: Annotated[
        str,
        typer.Option(
            metavar="FIELD", help="A declared attribute, of each of whose values few hits come."
        ),
    ] = "",
    group_size: Annotated[
        int, typer.Option(min=1, max=100, help="With --group-by: hits of each value.")
    ] = 1,
    diversity: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            metavar="WEIGHT",
            help="Hits that differ: weight of the score against the likeness to hits before.",
        ),
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show where the time went.")] = False,
) -> None:
    """Find the documents nearest to a text, a vector or another document, best first.

    A text that starts with a dash goes after `--`.
    """
    if sum(given is not None for given in (text, vector, document_id)) != 1:
        raise typer.BadParameter("give exactly one of TEXT, --vector and --id")
    session = session_of(context)
    names = field_names(fields or ())
    with Client(session.connection) as mesh:
        result = mesh.search(
            collection,
            text,
            vector=None if vector is None else parse_vector(vector),
            document_id=document_id,
            limit=limit,
            offset=offset,
            filter=filter_,
            output_fields=names,
            min_score=min_score,
            group_by=group_by,
            group_size=group_size,
            diversity=None if diversity is None else Diversity(diversity),
            explain=explain,
        )
    session.output.answer(result, lambda: _render(result, offset))


def field_names(given: Sequence[str]) -> list[str]:
    """Names of `NAME[,NAME…]`."""
    return [name for one in given for name in one.split(",") if name]


def parse_vector(given: str) -> np.ndarray:
    """A vector of `JSON|@FILE`. Raises BadParameter."""
    try:
        written = Path(given[1:]).read_text() if given.startswith("@") else given
        return np.array(json.loads(written), dtype=np.float32)
    except (ValueError, TypeError, OSError) as error:
        raise typer.BadParameter(f"--vector must be a JSON list of numbers: {error}") from error


def _render(result: SearchResult, offset: int) -> RenderableType:
    hits = hits_table(result.hits, result.metric.lower(), offset)
    if not result.explain:
        return hits
    return Group(hits, Text(), _explained(result.explain))


def hits_table(hits: Sequence[Hit], score: str, offset: int = 0) -> RenderableType:
    """score: what the score is. offset: hits that were passed over."""
    with_passage = any(hit.segment is not None for hit in hits)
    with_content = any(hit.content is not None for hit in hits)
    columns = (">", f">{score}", "id", "attributes")
    return table(
        (*columns, *["passage"] * with_passage, *["content"] * with_content),
        [
            (
                rank,
                f"{hit.score:.4f}",
                Text(hit.id, style="bold"),
                _attributes(hit),
                *[_passage(hit)] * with_passage,
                *[_content(hit)] * with_content,
            )
            for rank, hit in enumerate(hits, offset + 1)
        ],
    )


def _attributes(hit: Hit) -> str:
    return "  ".join(f"{key}: {_inline(value)}" for key, value in sorted(hit.attributes.items()))


def _inline(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _passage(hit: Hit) -> str:
    return _shortened(hit.segment.text) if hit.segment else ""


def _content(hit: Hit) -> str:
    content = plain(hit.content)
    return _shortened(content if isinstance(content, str) else json.dumps(content))


def _shortened(shown: str) -> str:
    if len(shown) <= _MOST_CHARACTERS:
        return shown
    return shown[:_MOST_CHARACTERS] + "…"


def _explained(explain: Explain) -> RenderableType:
    times = (
        f"total {explain.total_ms:.1f} ms: encode {explain.encode_ms:.1f}"
        f" (queue {explain.queue_ms:.1f}), search {explain.search_ms:.1f},"
        f" join {explain.fuse_ms:.1f}"
    )
    how = f"{explain.engine}, index {explain.index}"
    if explain.model:
        how += f", model {explain.model} {explain.fingerprint}"
    return Text(f"{times}\n{how}" + ("\nvector from the cache" if explain.cache else ""), "dim")
