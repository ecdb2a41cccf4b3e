"""Banking77 through Classify, Answer and BatchSearch: 10,003 questions stored, 3,080 asked.

    python benchmarks/answers.py [--data FOLDER] [--model NAME] [--json FILE]

Classify names the intent of each question that is asked. Answer gets a harder task: every seventh
intent counts as not stored (a filter leaves it out), so that its questions have no right answer.
Half of the questions calibrate the threshold, as `searchmesh calibrate` does, and the other half
judges it. Last, the same searches one after the other and in batches.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from local_mesh import Stopwatch, local_mesh
from rich.console import Console
from rich.progress import track

from searchmesh import Client, Document, Field, FieldType, Search, filter_value
from searchmesh.calibration import OperatingPoint, Trial, best_point, operating_points

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

COLLECTION = "banking77"
NEIGHBOURS = (1, 5, 10, 20)
PRECISION = 0.9
DEFAULT_THRESHOLD = 0.7
PARALLEL = 4
BATCHED_QUESTIONS = 640
BATCH = 64

console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    intent: str


@dataclass(frozen=True, slots=True)
class Report:
    """What the run measured."""

    model: str
    stored: int
    asked: int
    classify_accuracy: Mapping[int, float]
    """By how many neighbours vote."""
    answerable_share: float
    nearest_right_share: float
    """Of the answerable questions."""
    calibrated: OperatingPoint
    """On the questions that calibrated it."""
    judged: OperatingPoint
    """The same threshold on the others."""
    by_default: OperatingPoint
    """The default threshold on those."""
    searches_per_second_alone: float
    searches_per_second_batched: float


def main() -> int:
    arguments = _arguments()
    if not (arguments.data / "train.csv").exists():
        print(f"no Banking77 in {arguments.data}: name its folder with --data", file=sys.stderr)
        return 2
    stored, asked = (_questions(arguments.data / name) for name in ("train.csv", "test.csv"))
    with (
        tempfile.TemporaryDirectory() as folder,
        local_mesh(Path(folder)) as (_, connection),
        Client(connection) as client,
        ThreadPoolExecutor(PARALLEL) as workers,
    ):
        report = measure(client, workers, arguments.model, stored, asked)
    if arguments.json:
        arguments.json.write_text(json.dumps(asdict(report), indent=2) + "\n")
    _print(report)
    return 0


def measure(
    client: Client,
    workers: ThreadPoolExecutor,
    model: str,
    stored: Sequence[Question],
    asked: Sequence[Question],
) -> Report:
    """Over a mesh that serves."""
    declared = [Field("intent", FieldType.STRING)]
    client.create_collection(COLLECTION, model=model, fields=declared)
    client.import_documents(COLLECTION, _documents(stored)).wait()
    trials = _trials(client, workers, stored, asked)
    calibrating, judging = trials[::2], trials[1::2]
    points = operating_points([trial for trial, _ in calibrating], _answerable(calibrating))
    calibrated = best_point(points, PRECISION)
    assert calibrated is not None
    alone, batched_ = _paces(client, asked[:BATCHED_QUESTIONS])
    return Report(
        model=model,
        stored=len(stored),
        asked=len(asked),
        classify_accuracy={count: _accuracy(client, workers, asked, count) for count in NEIGHBOURS},
        answerable_share=_answerable(trials) / len(trials),
        nearest_right_share=sum(one.is_right for one, _ in trials) / _answerable(trials),
        calibrated=calibrated,
        judged=_judged(judging, calibrated.threshold),
        by_default=_judged(judging, DEFAULT_THRESHOLD),
        searches_per_second_alone=alone,
        searches_per_second_batched=batched_,
    )


def _accuracy(
    client: Client, workers: ThreadPoolExecutor, asked: Sequence[Question], neighbours: int
) -> float:
    def is_right(question: Question) -> bool:
        found = client.classify(COLLECTION, question.text, "intent", neighbours=neighbours)
        return bool(found.votes[0].value == question.intent)

    right = track(
        workers.map(is_right, asked),
        f"classifying by {neighbours}",
        total=len(asked),
        console=console,
    )
    return sum(right) / len(asked)


def _trials(
    client: Client,
    workers: ThreadPoolExecutor,
    stored: Sequence[Question],
    asked: Sequence[Question],
) -> list[tuple[Trial, bool]]:
    """What the nearest question gives for each that is asked, and whether any is right for it."""
    left_out = sorted({one.intent for one in stored})[::7]
    where = f"NOT intent IN ({', '.join(filter_value(one) for one in left_out)})"

    def ask(question: Question) -> tuple[Trial, bool]:
        found = client.answer(
            COLLECTION, question.text, "intent", threshold=-1, alternatives=0, filter=where
        ).answer
        assert found is not None
        trial = Trial(found.score, found.answer == question.intent)
        return trial, question.intent not in left_out

    asking = track(workers.map(ask, asked), "asking", total=len(asked), console=console)
    return list(asking)


def _answerable(trials: Sequence[tuple[Trial, bool]]) -> int:
    return sum(answerable for _, answerable in trials)


def _judged(trials: Sequence[tuple[Trial, bool]], threshold: float) -> OperatingPoint:
    answered = [one for one, _ in trials if one.score >= threshold]
    right = sum(one.is_right for one in answered)
    return OperatingPoint(
        threshold, right / len(answered), right / _answerable(trials), len(answered)
    )


def _paces(client: Client, asked: Sequence[Question]) -> tuple[float, float]:
    """Searches a second of one caller: one after the other, and in batches of BATCH.

    Each way asks half of the questions, so that none of them has been encoded before.
    """
    half = len(asked) // 2
    with Stopwatch() as alone:
        for one in asked[:half]:
            client.search(COLLECTION, f"please: {one.text}", output_fields=["$id"])
    searches = [
        Search(COLLECTION, f"please: {one.text}", output_fields=["$id"]) for one in asked[half:]
    ]
    with Stopwatch() as together:
        for start in range(0, len(searches), BATCH):
            client.batch_search(searches[start : start + BATCH])
    return half / alone.seconds, half / together.seconds


def _questions(file: Path) -> list[Question]:
    with file.open(newline="") as rows:
        return [Question(row["text"], row["category"]) for row in csv.DictReader(rows)]


def _documents(stored: Sequence[Question]) -> Iterator[Document]:
    for number, one in enumerate(track(stored, "importing", console=console)):
        yield Document(str(number), one.text, attributes={"intent": one.intent})


def _print(report: Report) -> None:
    print(f"model                   {report.model}")
    print(f"questions stored, asked {report.stored}, {report.asked}")
    for neighbours, accuracy in report.classify_accuracy.items():
        print(f"classify, {neighbours:>2} neighbours {accuracy:.4f} right")
    print(f"answer: questions with a right answer      {report.answerable_share:.3f}")
    print(f"        of those the nearest has it        {report.nearest_right_share:.3f}")
    for name, point in (
        ("calibrated", report.calibrated),
        ("judged", report.judged),
        ("default, judged", report.by_default),
    ):
        print(
            f"        {name:<15} threshold {point.threshold:.4f}"
            f"  precision {point.precision:.3f}  recall {point.recall:.3f}"
        )
    print(f"searches a second, alone         {report.searches_per_second_alone:.0f}")
    print(f"searches a second, {BATCH} a batch   {report.searches_per_second_batched:.0f}")


def _arguments() -> argparse.Namespace:
    shared = Path(os.environ.get("SEARCHMESH_SHARED", Path(__file__).parents[2] / "shared"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, default=shared / "data" / "banking77", help="Banking77's folder"
    )
    parser.add_argument("--model", default="all-minilm-l6-v2", help="a model of the encoder's")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
