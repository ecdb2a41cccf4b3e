"""nDCG@10 of a model on SciFact's test queries, by exact search over its own vectors.

Source: Thakur et al. 2021, BEIR; Järvelin and Kekäläinen 2002 for nDCG.
"""

from __future__ import annotations

import csv
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from searchmesh_common.errors import ServiceError
from searchmesh_encoder.content import Content
from searchmesh_encoder.cpus import available_cpus
from searchmesh_encoder.models.card import Modality
from searchmesh_encoder.prepared import InputRole, PrepareOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from searchmesh_encoder.text_model import TextModel

SHARED = Path(os.environ.get("SEARCHMESH_SHARED", Path(__file__).parents[2].parent / "shared"))
FOLDER = SHARED / "data" / "scifact"

_DEPTH = 10
_BATCH = 4


def ndcg(model: TextModel, most_documents: int | None = None) -> float:
    """The mean nDCG@10 over the test queries.

    most_documents: search only so many, all relevant ones and the first others. That is easier: the
    figure only compares with others of the same slice.
    """
    relevant = _relevant()
    documents = _documents(relevant, most_documents)
    queries = {
        line["_id"]: line["text"] for line in _lines("queries.jsonl") if line["_id"] in relevant
    }
    ids = np.array(list(documents))
    scores = _encode(model, list(queries.values()), InputRole.QUERY) @ (
        _encode(model, list(documents.values()), InputRole.DOCUMENT).T
    )
    best = np.argsort(-scores, axis=1, kind="stable")[:, :_DEPTH]
    gains = [
        _ndcg([relevant[query].get(one, 0) for one in ids[row]], list(relevant[query].values()))
        for query, row in zip(queries, best, strict=True)
    ]
    return float(np.mean(gains))


def _encode(model: TextModel, texts: Sequence[str], role: InputRole) -> np.ndarray:
    """(texts, dimension), truncated to the model's window."""
    prepared = [
        model.prepare(Content(Modality.TEXT, text), PrepareOptions(role)).parts[0] for text in texts
    ]
    # alike in length side by side, so that little is padding
    order = sorted(range(len(texts)), key=lambda index: prepared[index].length)
    batches = [order[start : start + _BATCH] for start in range(0, len(order), _BATCH)]
    vectors = np.empty((len(texts), model.card.dimension), np.float32)

    def encode(batch: Sequence[int]) -> None:
        for index, vector in zip(
            batch, model.run([prepared[one].payload for one in batch]), strict=True
        ):
            assert not isinstance(vector, ServiceError)
            vectors[index] = vector

    with ThreadPoolExecutor(available_cpus()) as threads:
        list(threads.map(encode, batches))
    return vectors


def _ndcg(found: Sequence[int], possible: Sequence[int]) -> float:
    return _dcg(found) / _dcg(sorted(possible, reverse=True)[:_DEPTH])


def _dcg(gains: Sequence[int]) -> float:
    return float(sum(gain / np.log2(rank + 2) for rank, gain in enumerate(gains)))


def _documents(relevant: Mapping[str, Mapping[str, int]], most: int | None) -> Mapping[str, str]:
    documents = {
        line["_id"]: f"{line['title']} {line['text']}".strip() for line in _lines("corpus.jsonl")
    }
    wanted = {document for documents in relevant.values() for document in documents}
    ids = sorted(documents, key=lambda one: one not in wanted)[:most]
    return {one: documents[one] for one in ids}


def _relevant() -> Mapping[str, Mapping[str, int]]:
    relevant: dict[str, dict[str, int]] = {}
    with (FOLDER / "qrels" / "test.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if int(row["score"]) > 0:
                relevant.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
    return relevant


def _lines(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]
