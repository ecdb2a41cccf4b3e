"""Smoothing is read whole or refused, and brings components nearer to each other."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from searchmesh_common.errors import FailedPrecondition
from searchmesh_encoder.models.card import read_card
from searchmesh_encoder.models.catalogue import read_catalogue
from searchmesh_encoder.models.smoothing import read_smoothing, smoothing_exponents
from searchmesh_encoder.models.sources import LocalFile
from searchmesh_encoder.models.store import ModelStore
from tests.encoder.conftest import ignore_progress
from tests.models import DIMENSION, sha256, write_text_model

if TYPE_CHECKING:
    from pathlib import Path

    from searchmesh_encoder.models.store import BuiltModel


def test_reads_powers_of_two(tmp_path: Path) -> None:
    path = tmp_path / "smoothing.json"
    path.write_text(json.dumps({"embeddings.LayerNorm": [-2, 0, 3]}))
    assert read_smoothing(path, 3)["embeddings.LayerNorm"].tolist() == [0.25, 1, 8]


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"\\xff", b'{"a": [1, 2]}', b'{"a": [1, 2, 9]}', b'{"a": [1, 2, "x"]}']
)
def test_refuses_what_is_no_smoothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "smoothing.json"
    path.write_bytes(content)
    with pytest.raises(FailedPrecondition) as found:
        read_smoothing(path, 3)
    assert found.value.reason == "BAD_SMOOTHING"
    assert str(path) in found.value.message


def test_larger_components_shrink_and_their_kernels_grow() -> None:
    exponents = smoothing_exponents(np.array([1, 1, 64], np.float32), np.ones((3, 5), np.float32))
    assert exponents[0] == exponents[1] > exponents[2]


def test_ours_names_every_normalisation_but_the_last() -> None:
    source = read_catalogue()["all-minilm-l6-v2-int8"].smoothing
    assert isinstance(source, LocalFile)
    assert len(read_smoothing(source.path, 384)) == 12


def build(folder: Path, exponents: list[int] | None) -> BuiltModel:
    changes: dict[str, Any] = {"precision": "int8"}
    if exponents:
        folder.mkdir()
        path = folder / "smoothing.json"
        path.write_text(json.dumps({"embeddings.LayerNorm": exponents}))
        changes["smoothing"] = {"path": path.name, "sha256": sha256(path)}
    card = read_card(write_text_model(folder, **changes))
    return ModelStore(folder / "models").built(card, ignore_progress)


def test_is_part_of_the_graph_and_of_the_fingerprint(tmp_path: Path) -> None:
    plain = build(tmp_path / "plain", None)
    smooth = build(tmp_path / "smooth", [1] * DIMENSION)
    assert plain.fingerprint != smooth.fingerprint
    assert b"embeddings.LayerNorm.smooth" in smooth.graph.read_bytes()
    assert b"embeddings.LayerNorm.smooth" not in plain.graph.read_bytes()
