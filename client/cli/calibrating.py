"""`searchmesh calibrate`."""

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from searchmesh.calibration import OperatingPoint, Trial, best_point, operating_points
from searchmesh.cli.output import table
from searchmesh.cli.pairs import Pair, read_pairs
from searchmesh.cli.session import session_of
from searchmesh.client import Client

_EVERY_SCORE = -sys.float_info.max
_PRECISIONS = (0.8, 0.85, 0.9, 0.95, 0.98, 0.99)
_EXIT_UNREACHED = 1


@dataclass(frozen=True, slots=True)
class Calibration:
    """The outcome, as JSON has it."""

    precision_wanted: float
    chosen: OperatingPoint | None
    """None where no threshold is as precise."""
    question_count: int
    answerable_count: int
    """Questions that some stored answer is right for."""
    nearest_right_count: int
    """Those of which the nearest stored question has it."""
    others: Sequence[OperatingPoint]
    """What other precisions would take, the lowest first."""


def calibrate(
    context: typer.Context,
    collection: Annotated[str, typer.Argument(metavar="COLLECTION", help="Where to look.")],
    answer_field: Annotated[
        str, typer.Argument(metavar="FIELD", help="The attribute that holds the answers.")
    ],
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="FILE.csv with a header, or a JSON object a line: each a question, with the id of "
            "the document whose answer is right, or with that answer; with neither where nothing "
            "stored is right.",
        ),
    ],
    precision: Annotated[
        float, typer.Option(min=0, max=1, help="Least share of right answers among those given.")
    ] = 0.9,
    filter_: Annotated[
        str,
        typer.Option(
            "--filter",
            metavar="FILTER",
            help='Only documents that it is true for, as `year >= 2020 AND NOT kind = "draft"`.',
        ),
    ] = "",
    parallel: Annotated[
        int, typer.Option(min=1, max=64, help="Questions asked at the same time.")
    ] = 4,
) -> None:
    """Find the threshold for `answer` with which most questions are answered rightly.

    The questions of the file should be such as are asked, and not be stored themselves. Exit code 1
    where no threshold is as precise.
    """
    pairs = read_pairs(file)
    session = session_of(context)
    with Client(session.connection) as mesh, ThreadPoolExecutor(parallel) as workers:
        asked = workers.map(lambda pair: _try(mesh, collection, answer_field, filter_, pair), pairs)
        trials = [trial for trial in asked if trial is not None]
    found = _calibration(trials, sum(pair.is_answerable for pair in pairs), len(pairs), precision)
    session.output.answer(found, lambda: _render(found))
    if found.chosen is None:
        raise typer.Exit(_EXIT_UNREACHED)


def _try(
    mesh: Client, collection: str, answer_field: str, filter_: str, pair: Pair
) -> Trial | None:
    """What the nearest question gives, however far it is; None where nothing is stored."""
    found = mesh.answer(
        collection,
        pair.question,
        answer_field,
        threshold=_EVERY_SCORE,
        alternatives=0,
        filter=filter_,
    ).answer
    return None if found is None else Trial(found.score, pair.fits(found.id, found.answer))


def _calibration(
    trials: Sequence[Trial], answerable_count: int, question_count: int, precision: float
) -> Calibration:
    points = operating_points(trials, answerable_count)
    others = {best_point(points, one) for one in _PRECISIONS}
    return Calibration(
        precision_wanted=precision,
        chosen=best_point(points, precision),
        question_count=question_count,
        answerable_count=answerable_count,
        nearest_right_count=sum(one.is_right for one in trials),
        others=sorted(
            (one for one in others if one is not None), key=lambda one: (one.precision, one.recall)
        ),
    )


def _render(found: Calibration) -> RenderableType:
    chosen = found.chosen
    head = (
        f"threshold {chosen.threshold:.4f}: {chosen.precision:.1%} of the answers right, "
        f"{chosen.recall:.1%} of the questions that have one answered rightly"
        if chosen
        else f"no threshold is as precise as {found.precision_wanted:.1%}"
    )
    asked = (
        f"{found.question_count:,} questions, {found.answerable_count:,} of them with a stored "
        f"answer; the nearest is right for {found.nearest_right_count:,}"
    )
    rows = [
        (
            f"{one.threshold:.4f}",
            f"{one.precision:.3f}",
            f"{one.recall:.3f}",
            f"{one.answered_count:,}",
        )
        for one in found.others
    ]
    columns = (">threshold", ">precision", ">recall", ">answered")
    return Group(Text(head, style="bold"), Text(asked), Text(), table(columns, rows))
