"""Models that are built into an image are found there by the encoder."""

from pathlib import Path

import pytest
from bake_models import bake

from searchmesh_encoder.models.catalogue import read_catalogue
from searchmesh_encoder.models.store import ModelStore


def test_a_baked_model_is_not_built_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bake(tmp_path, ["all-minilm-l6-v2"])
    (graph,) = tmp_path.rglob("*.onnx")
    assert str(graph) in capsys.readouterr().out
    written = graph.stat().st_mtime_ns
    model = ModelStore(tmp_path).built(read_catalogue()["all-minilm-l6-v2"], lambda *_: None)
    assert model.graph == graph
    assert graph.stat().st_mtime_ns == written


def test_a_model_without_a_card_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"no card for nonesuch; known: .*all-minilm-l6-v2"):
        bake(tmp_path, ["all-minilm-l6-v2", "nonesuch"])
    assert list(tmp_path.iterdir()) == []
