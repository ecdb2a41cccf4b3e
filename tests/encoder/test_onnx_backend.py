"""Graphs run from several threads, and ONNX Runtime's errors become ours."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

from searchmesh_common.errors import FailedPrecondition, Internal
from searchmesh_encoder.onnx_backend import OnnxModel
from tests.models import write_doubling_graph

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def doubling(tmp_path: Path) -> OnnxModel:
    return OnnxModel(write_doubling_graph(tmp_path / "doubling.onnx"))


def test_runs(doubling: OnnxModel) -> None:
    output = doubling.run({"x": np.array([[1, 2], [3, 4]], np.float32)})
    assert output.tolist() == [[2, 4], [6, 8]]


def test_runs_side_by_side(doubling: OnnxModel) -> None:
    inputs = [np.full((3, 2), number, np.float32) for number in range(200)]
    with ThreadPoolExecutor(8) as threads:
        outputs = list(threads.map(lambda x: doubling.run({"x": x}), inputs))
    assert all(np.array_equal(y, 2 * x) for x, y in zip(inputs, outputs, strict=True))


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"y": np.zeros((1, 2), np.float32)},
        {"x": np.zeros((1, 3), np.float32)},
        {"x": np.zeros((1, 2), np.int64)},
    ],
)
def test_what_it_cannot_compute_is_internal(
    doubling: OnnxModel, inputs: dict[str, np.ndarray]
) -> None:
    with pytest.raises(Internal, match="could not compute"):
        doubling.run(inputs)


@pytest.mark.parametrize("content", [None, b"", b"no graph"])
def test_refuses_what_is_no_graph(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FailedPrecondition, match=r"model\.onnx cannot be loaded"):
        OnnxModel(path)


def test_onnx_runtime_reports_to_nobody(tmp_path: Path) -> None:
    """Its import alone would leave a device id in the user's cache folder."""
    environ = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environ.pop("ORT_DISABLE_TELEMETRY", None)
    code = "import searchmesh_encoder.onnx_backend"
    subprocess.run([sys.executable, "-c", code], env=environ, check=True, timeout=60)
    assert list(tmp_path.rglob("*")) == []


def test_a_run_keeps_no_other_cpu_busy_and_no_plan_for_every_shape(doubling: OnnxModel) -> None:
    options = doubling._session.get_session_options()
    assert options.intra_op_num_threads == options.inter_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert not options.enable_mem_pattern
