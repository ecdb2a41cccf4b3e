"""MovieLens through Recommend: films by vectors of our own, for people who rated others.

    python benchmarks/recommendations.py [--data FOLDER] [--metric METRIC] [--json FILE]

Each person's last fifth of ratings is held back. Films get vectors by a singular value
decomposition of who liked what before, and are recommended by the LATEST films that a person liked,
and disliked, with all that they rated left out. A ranking is judged by the films held back that
they liked.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from local_mesh import Stopwatch, local_mesh
from retrieval import ndcg
from rich.console import Console
from rich.progress import track

from searchmesh import Client, Document, DocumentId, Metric, RecommendStrategy, VectorSpace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COLLECTION = "films"
DIMENSION = 32
DEPTH = 10
LATEST = 20
LIKED, DISLIKED = 4.0, 2.5
HELD_BACK = 0.2
PARALLEL = 4

STRATEGIES = (RecommendStrategy.AVERAGE, RecommendStrategy.SUM, RecommendStrategy.BEST)

console = Console(stderr=True)


@dataclass(frozen=True, slots=True)
class Person:
    """Films in the order in which they were rated."""

    liked: Sequence[str]
    disliked: Sequence[str]
    seen: Sequence[str]
    later_liked: Sequence[str]
    """Held back, and not seen before."""


@dataclass(frozen=True, slots=True)
class Row:
    """How good one way to recommend is."""

    way: str
    ndcg_at_10: float
    hit_rate_at_10: float
    """People who got at least one film that they liked later."""
    milliseconds_median: float


def main() -> int:
    arguments = _arguments()
    if not (arguments.data / "ratings.csv").exists():
        print(f"no MovieLens in {arguments.data}: name its folder with --data", file=sys.stderr)
        return 2
    people = _people(arguments.data / "ratings.csv")
    vectors = film_vectors(people)
    asked = [one for one in people if one.later_liked and vectors.keys() & set(one.liked)]
    with (
        tempfile.TemporaryDirectory() as folder,
        local_mesh(Path(folder)) as (_, connection),
        Client(connection) as client,
        ThreadPoolExecutor(PARALLEL) as workers,
    ):
        space = VectorSpace(DIMENSION, Metric(arguments.metric.upper()))
        client.create_collection(COLLECTION, space=space)
        documents = [Document(film, vector=vector) for film, vector in vectors.items()]
        client.upsert(COLLECTION, documents, batch_size=1000)
        rows = [_popular(people, asked)]
        for strategy in STRATEGIES:
            for use_disliked in (False, True):
                way = f"{strategy.lower()}, with disliked" if use_disliked else strategy.lower()
                rows.append(_measured(client, workers, asked, vectors, strategy, way, use_disliked))
    print(f"{len(vectors)} films, {len(asked)} people, {arguments.metric}")
    print("way                      nDCG@10  people with a hit  median ms")
    for row in rows:
        print(
            f"{row.way:<24} {row.ndcg_at_10:7.4f}  {row.hit_rate_at_10:17.3f}"
            f"  {row.milliseconds_median:9.1f}"
        )
    if arguments.json:
        fields = [{name: getattr(row, name) for name in Row.__slots__} for row in rows]
        arguments.json.write_text(json.dumps(fields, indent=2) + "\n")
    return 0


def film_vectors(people: Sequence[Person]) -> dict[str, np.ndarray]:
    """(DIMENSION,) float32 of each film that anybody liked."""
    films = sorted({film for one in people for film in one.liked})
    places = {film: place for place, film in enumerate(films)}
    liked = np.zeros((len(people), len(films)), np.float32)
    for row, one in enumerate(people):
        liked[row, [places[film] for film in one.liked]] = 1
    _, strengths, directions = np.linalg.svd(liked, full_matrices=False)
    # the other half of the strengths is the people's
    halves = np.sqrt(strengths[:DIMENSION, None])
    vectors = (halves * directions[:DIMENSION]).T.astype(np.float32)
    return {film: vectors[place] for film, place in places.items()}


def _measured(
    client: Client,
    workers: ThreadPoolExecutor,
    asked: Sequence[Person],
    vectors: Mapping[str, np.ndarray],
    strategy: RecommendStrategy,
    way: str,
    use_disliked: bool,
) -> Row:
    def recommend(person: Person) -> tuple[list[str], float]:
        liked, disliked = (
            [DocumentId(film) for film in films if film in vectors][-LATEST:]
            for films in (person.liked, person.disliked if use_disliked else ())
        )
        with Stopwatch() as watch:
            found = client.recommend(
                COLLECTION,
                liked,
                disliked,
                strategy=strategy,
                seen_ids=person.seen,
                limit=DEPTH,
                output_fields=["$id"],
            )
        return [hit.id for hit in found], watch.seconds * 1000

    answers = track(workers.map(recommend, asked), way, total=len(asked), console=console)
    ranked, milliseconds = zip(*answers, strict=True)
    return _judged(way, asked, ranked, statistics.median(milliseconds))


def _popular(people: Sequence[Person], asked: Sequence[Person]) -> Row:
    """What most people liked before, less what was seen: what there is to beat."""
    counts = Counter(film for one in people for film in one.liked)
    order = [film for film, _ in counts.most_common()]
    ranked = []
    for one in asked:
        seen = set(one.seen)
        ranked.append([film for film in order if film not in seen][:DEPTH])
    return _judged("most liked by all", asked, ranked, 0.0)


def _judged(
    way: str, asked: Sequence[Person], ranked: Sequence[Sequence[str]], milliseconds: float
) -> Row:
    scores = [
        ndcg(films, dict.fromkeys(one.later_liked, 1), DEPTH)
        for one, films in zip(asked, ranked, strict=True)
    ]
    hits = sum(score > 0 for score in scores)
    return Row(way, statistics.mean(scores), hits / len(asked), milliseconds)


def _people(file: Path) -> list[Person]:
    ratings: dict[str, list[tuple[int, str, float]]] = {}
    with file.open(newline="") as rows:
        for row in csv.DictReader(rows):
            rated = (int(row["timestamp"]), row["movieId"], float(row["rating"]))
            ratings.setdefault(row["userId"], []).append(rated)
    return [_person(sorted(one)) for one in ratings.values()]


def _person(rated: Sequence[tuple[int, str, float]]) -> Person:
    cut = int(len(rated) * (1 - HELD_BACK))
    before, later = rated[:cut], rated[cut:]
    return Person(
        liked=[film for _, film, rating in before if rating >= LIKED],
        disliked=[film for _, film, rating in before if rating <= DISLIKED],
        seen=[film for _, film, _ in before],
        later_liked=[film for _, film, rating in later if rating >= LIKED],
    )


def _arguments() -> argparse.Namespace:
    shared = Path(os.environ.get("SEARCHMESH_SHARED", Path(__file__).parents[2] / "shared"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, default=shared / "data" / "movielens-small", help="MovieLens's folder"
    )
    metrics = ("cosine", "inner_product", "euclidean")
    parser.add_argument("--metric", choices=metrics, default="inner_product", help="of the vectors")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
