"""`searchmesh answer`."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from searchmesh.cli.output import table
from searchmesh.cli.session import session_of
from searchmesh.client import Client
from searchmesh.results import AnswerResult, StoredAnswer


def answer(
    context: typer.Context,
    collection: Annotated[
        str, typer.Argument(metavar="COLLECTION", help="Whose texts are questions.")
    ],
    answer_field: Annotated[
        str, typer.Argument(metavar="FIELD", help="The attribute that holds the answers.")
    ],
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What to answer.")],
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Least score of a question that is near enough; see `calibrate`. Default: 0.7."
        ),
    ] = None,
    alternatives: Annotated[
        int, typer.Option(min=0, max=100, help="Most of the next best to show.")
    ] = 3,
    filter_: Annotated[
        str,
        typer.Option(
            "--filter",
            metavar="FILTER",
            help='Only documents that it is true for, as `year >= 2020 AND NOT kind = "draft"`.',
        ),
    ] = "",
) -> None:
    """Answer a question with the stored answer of the nearest stored question, if it is near
    enough.
    """
    session = session_of(context)
    with Client(session.connection) as mesh:
        found = mesh.answer(
            collection,
            question,
            answer_field,
            threshold=threshold,
            alternatives=alternatives,
            filter=filter_,
        )
    session.output.answer(found, lambda: _render(found))


def _render(found: AnswerResult) -> RenderableType:
    if found.answer is None:
        head = Text("no answer: no stored question is near enough", style="dim")
    else:
        head = Text(found.answer.answer)
    shown = [*([found.answer] if found.answer else []), *found.alternatives]
    return Group(head, Text(), _table(shown, found.metric.lower()))


def _table(answers: Sequence[StoredAnswer], metric: str) -> RenderableType:
    return table(
        (f">{metric}", "id", "question", "answer"),
        [
            (f"{one.score:.4f}", Text(one.id, style="bold"), one.question, one.answer)
            for one in answers
        ],
    )
