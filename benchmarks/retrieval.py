"""Retrieval data sets in BEIR's layout, and how good a ranking of theirs is."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class RetrievalSet:
    """Documents, queries, and which documents answer which query."""

    documents: Mapping[str, str]
    """Text by id; title and text joined by a space, as BEIR and MTEB encode it."""
    queries: Mapping[str, str]
    """Text by id, of the queries that have judgements."""
    relevant: Mapping[str, Mapping[str, int]]
    """Gain of each relevant document, by query."""


def load(folder: Path, split: str) -> RetrievalSet:
    """Read `corpus.jsonl`, `queries.jsonl` and `qrels/<split>.tsv`."""
    relevant: dict[str, dict[str, int]] = {}
    with (folder / "qrels" / f"{split}.tsv").open(newline="") as judgements:
        for row in csv.DictReader(judgements, delimiter="\t"):
            relevant.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
    documents = {
        one["_id"]: f"{one['title']} {one['text']}" for one in _lines(folder / "corpus.jsonl")
    }
    queries = {
        one["_id"]: one["text"]
        for one in _lines(folder / "queries.jsonl")
        if one["_id"] in relevant
    }
    return RetrievalSet(documents, queries, relevant)


def ndcg(ranked: Sequence[str], relevant: Mapping[str, int], depth: int = 10) -> float:
    """Normalised discounted cumulative gain of one query's ranking, linear gain, 0 to 1.

    Source: Järvelin and Kekäläinen 2002; as trec_eval computes `ndcg_cut`.
    """
    gains = [relevant.get(document, 0) for document in ranked[:depth]]
    ideal = sorted(relevant.values(), reverse=True)[:depth]
    return _discounted(gains) / _discounted(ideal)


def _discounted(gains: Sequence[int]) -> float:
    return sum(gain / math.log2(rank + 2) for rank, gain in enumerate(gains))


def _lines(path: Path) -> list[dict[str, str]]:
    with path.open() as lines:
        return [json.loads(line) for line in lines]
