"""A card is read whole or refused with the file and the key at fault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from searchmesh_encoder.models.card import CardError, Metric, Modality, read_card
from searchmesh_encoder.models.sources import LocalFile, PackageFile, RemoteFile
from tests.models import write_text_model

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = "ab" * 32


def test_reads_a_card(tmp_path: Path) -> None:
    card = read_card(write_text_model(tmp_path))
    assert (card.name, card.modality, card.metric) == ("tiny", Modality.TEXT, Metric.COSINE)
    assert (card.dimension, card.window, card.query_prefix) == (16, 24, "q ")
    assert (card.dimensions, card.golden) == ((), None)
    assert isinstance(card.weights, LocalFile)
    assert card.weights.path == tmp_path / "tiny.safetensors"


def test_reads_the_lengths_that_a_vector_may_be_cut_to(tmp_path: Path) -> None:
    assert read_card(write_text_model(tmp_path, dimensions=[4, 8])).dimensions == (4, 8)


def test_finds_golden_vectors_beside_the_card(tmp_path: Path) -> None:
    card = read_card(write_text_model(tmp_path, golden="golden.json"))
    assert card.golden == tmp_path / "golden.json"


@pytest.mark.parametrize(
    ("given", "source"),
    [
        ({"package": "p", "path": "a/b"}, PackageFile("p", "a/b", DIGEST)),
        ({"url": "https://h/x"}, RemoteFile("https://h/x", DIGEST)),
    ],
)
def test_reads_every_kind_of_source(tmp_path: Path, given: dict[str, str], source: Any) -> None:
    card = read_card(write_text_model(tmp_path, weights={**given, "sha256": DIGEST}))
    assert card.weights == source


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "Tiny"}, "name: 'Tiny' given, must match"),
        ({"dimension": 0}, "dimension: 0 given, must be a whole number from 1 to 32768"),
        ({"dimension": True}, "dimension: True given"),
        ({"dimensions": 8}, "dimensions: 8 given, must be a list of whole numbers"),
        ({"dimensions": [8, True]}, "must be a list of whole numbers"),
        ({"dimensions": [8, 4]}, "dimensions: [8, 4] given, must rise within 1 to 15"),
        ({"dimensions": [8, 8]}, "must rise"),
        ({"dimensions": [0, 8]}, "must rise"),
        ({"dimensions": [8, 16]}, "must rise"),
        ({"metric": "angle"}, "metric: 'angle' given, must be one of cosine"),
        ({"modality": "image"}, "modality: image models cannot be loaded yet"),
        ({"precision": "int4"}, "precision: 'int4' given, must be one of fp32, int8"),
        ({"smoothing": {"path": "x", "sha256": DIGEST}}, "smoothing: is for int8 only"),
        ({"golden": 3}, "golden: 3 given, must be a text"),
        ({"description": 3}, "description: 3 given, must be a text"),
        ({"bert": {"heads": 2}}, "bert.layer_norm_epsilon: required"),
        ({"bert": {"heads": 2, "layer_norm_epsilon": 0.0}}, "must be a number above 0"),
        ({"bert": None}, "bert must be a table of keys"),
        ({"wndow": 3}, "wndow: no such key"),
        ({"weights": {"path": "x", "sha256": "no"}}, "weights.sha256: 'no' given"),
        ({"weights": {"url": "file:///x", "sha256": DIGEST}}, "weights.url: 'file:///x' given"),
    ],
)
def test_names_what_is_wrong(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    path = write_text_model(tmp_path, **{"name": "tiny"} | changes)
    with pytest.raises(CardError) as caught:
        read_card(path)
    assert str(caught.value).startswith(str(path))
    assert sentence in str(caught.value)


@pytest.mark.parametrize("content", [b"a: [", b"\xff", b"- 1"])
def test_refuses_what_is_no_card(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "card.yaml"
    path.write_bytes(content)
    with pytest.raises(CardError, match=r"card\.yaml"):
        read_card(path)
