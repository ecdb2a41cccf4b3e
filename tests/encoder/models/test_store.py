"""Models are built once, and again where what was built is no longer whole."""

from __future__ import annotations

import resource
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import save_file

from searchmesh_common.errors import FailedPrecondition, Unavailable
from searchmesh_encoder.models.card import read_card
from searchmesh_encoder.models.fingerprint import fingerprint
from searchmesh_encoder.models.store import ModelStore
from tests.encoder.conftest import ignore_progress
from tests.encoder.models.file_server import serving
from tests.models import bert_weights, sha256, write_text_model

if TYPE_CHECKING:
    from pathlib import Path

    from searchmesh_encoder.models.store import BuiltModel


def build(folder: Path, card: Path) -> BuiltModel:
    return ModelStore(folder).built(read_card(card), ignore_progress)


def test_builds_once_and_needs_its_sources_never_again(tmp_path: Path) -> None:
    card = write_text_model(tmp_path / "cards")
    built = build(tmp_path / "models", card)
    assert built.fingerprint == fingerprint(read_card(card))
    written = built.graph.stat().st_mtime_ns
    (tmp_path / "cards" / "tiny.safetensors").unlink()
    assert build(tmp_path / "models", card) == built
    assert built.graph.stat().st_mtime_ns == written


@pytest.mark.parametrize("damaged", ["model.onnx", "tokenizer.json", "manifest.json"])
@pytest.mark.parametrize("content", [None, b"", b"{}", b"{"])
def test_builds_again_what_is_damaged(tmp_path: Path, damaged: str, content: bytes | None) -> None:
    card = write_text_model(tmp_path / "cards")
    built = build(tmp_path / "models", card)
    whole = sha256(built.graph)
    path = built.graph.with_name(damaged)
    path.unlink() if content is None else path.write_bytes(content)
    build(tmp_path / "models", card)
    assert sha256(built.graph) == whole
    assert sorted(one.name for one in built.graph.parent.iterdir()) == [
        "manifest.json",
        "model.onnx",
        "tokenizer.json",
    ]


def test_who_builds_at_the_same_time_shares_one_build(tmp_path: Path) -> None:
    weights = write_text_model(tmp_path / "cards").with_name("tiny.safetensors")
    with serving(weights.read_bytes()) as server:
        source = {"url": server.url, "sha256": sha256(weights)}
        card = write_text_model(tmp_path / "cards", weights=source)
        with ThreadPoolExecutor(4) as threads:
            built = list(threads.map(build, [tmp_path / "models"] * 4, [card] * 4))
        assert server.starts == [0]
    assert len(set(built)) == 1


def test_a_full_disk_is_worth_another_attempt_and_leaves_no_part(tmp_path: Path) -> None:
    card = write_text_model(tmp_path / "cards")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
    try:
        with pytest.raises(Unavailable, match="tiny cannot be built") as caught:
            build(tmp_path / "models", card)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.retry_after_seconds > 1
    assert not list((tmp_path / "models").rglob("*.part"))
    assert build(tmp_path / "models", card).graph.exists()


def refusal(tmp_path: Path, weights: dict[str, np.ndarray] | bytes) -> FailedPrecondition:
    path = tmp_path / "weights"
    path.write_bytes(weights) if isinstance(weights, bytes) else save_file(weights, path)
    source = {"path": str(path), "sha256": sha256(path)}
    card = write_text_model(tmp_path, weights=source)
    with pytest.raises(FailedPrecondition) as caught:
        build(tmp_path / "models", card)
    return caught.value


def test_refuses_weights_of_something_else(tmp_path: Path) -> None:
    assert "not a safetensors file" in refusal(tmp_path, b"no").message
    assert "word_embeddings.weight is missing" in refusal(tmp_path, {"x": np.zeros(1)}).message
    weights = bert_weights()
    del weights["encoder.layer.1.output.dense.bias"]
    assert "encoder.layer.1.output.dense.bias is missing" in refusal(tmp_path, weights).message
    weights = bert_weights()
    weights["encoder.layer.1.output.dense.bias"][3] = np.inf
    assert "dense.bias holds a number that is not finite" in refusal(tmp_path, weights).message
    assert (
        "2 heads do not divide"
        in refusal(
            tmp_path, {"embeddings.word_embeddings.weight": np.zeros((3, 5), np.float32)}
        ).message
    )
