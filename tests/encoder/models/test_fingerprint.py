"""A fingerprint tells whether vectors may be compared."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from searchmesh_encoder.models import fingerprint as fingerprint_module
from searchmesh_encoder.models.card import BertShape, Metric, ModelCard, Precision
from searchmesh_encoder.models.catalogue import read_catalogue
from searchmesh_encoder.models.fingerprint import fingerprint
from searchmesh_encoder.models.sources import LocalFile

CARD = read_catalogue()["all-minilm-l6-v2"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("all-minilm-l6-v2", "23d1f94dfeb7023b6841c571712cbd96"),
        ("all-minilm-l6-v2-int8", "ac507ae404646fd937f8df606cb645f6"),
    ],
)
def test_our_models_keep_their_fingerprints(name: str, expected: str) -> None:
    # every collection pins it: a change here means that all of them are rebuilt
    assert fingerprint(read_catalogue()[name]) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"description": "other"},
        {"license": "MIT"},
        {"dimensions": (64,)},
        {"golden": None},
        {"weights": LocalFile(Path("/elsewhere"), CARD.weights.sha256)},
    ],
)
def test_stays_where_no_vector_changes(changes: dict[str, Any]) -> None:
    assert fingerprint(dataclasses.replace(CARD, **changes)) == fingerprint(CARD)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"},
        {"precision": Precision.INT8},
        {"window": 128},
        {"metric": Metric.EUCLIDEAN},
        {"query_prefix": "query: "},
        {"bert": BertShape(6, 1e-12)},
        {"weights": LocalFile(Path("w"), "00" * 32)},
        {"tokenizer": LocalFile(Path("t"), "00" * 32)},
        {"smoothing": LocalFile(Path("s"), "00" * 32)},
    ],
)
def test_changes_with_what_vectors_depend_on(changes: dict[str, Any]) -> None:
    assert fingerprint(dataclasses.replace(CARD, **changes)) != fingerprint(CARD)


@pytest.mark.parametrize("version", ["GRAPH_VERSION", "PREPROCESSING_VERSION"])
def test_changes_with_our_own_versions(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    before = fingerprint(CARD)
    monkeypatch.setattr(fingerprint_module, version, 1000)
    assert fingerprint(CARD) != before


def test_every_key_of_a_card_is_hashed_or_left_out_on_purpose() -> None:
    left_out = {"description", "license", "dimensions", "golden"}
    hashed = {"name", "modality", "precision", "dimension", "metric", "window", "pooling"}
    hashed |= {"query_prefix", "document_prefix", "bert", "weights", "tokenizer", "smoothing"}
    assert {field.name for field in dataclasses.fields(ModelCard)} == hashed | left_out
