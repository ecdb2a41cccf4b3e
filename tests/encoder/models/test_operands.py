"""Both forms of operands hold the same integers, and one that this CPU gets wrong is not used."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from searchmesh_common.errors import FailedPrecondition
from searchmesh_encoder.models import operands
from searchmesh_encoder.models.operands import OperandForm, exact_form, in_form, wrong_cells

from .reference import product_graph

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[3]
QEMU = shutil.which("qemu-x86_64")


class Saturating:
    """What a CPU computes that adds pairs of unsigned times signed bytes in 16 bits."""

    def __init__(self, graph: bytes) -> None:
        model = onnx.load_model_from_string(graph)
        (node,) = model.graph.node
        (self._weights,) = (
            numpy_helper.to_array(one)
            for one in model.graph.initializer
            if one.name == node.input[1]
        )

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        rows, weights = inputs["rows"].astype(np.int64), self._weights.astype(np.int64)
        if self._weights.dtype == np.uint8:
            return ((rows - 128) @ (weights - 128)).astype(np.float32)
        pairs = rows[:, 0::2, None] * weights[0::2] + rows[:, 1::2, None] * weights[1::2]
        sums = np.clip(pairs, -(2**15), 2**15 - 1).sum(axis=1) - 128 * weights.sum(axis=0)
        return np.asarray(sums, np.float32)


def test_a_form_that_saturates_is_noticed_and_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operands, "OnnxModel", Saturating)
    assert wrong_cells(OperandForm.SIGNED) > 0
    assert wrong_cells(OperandForm.UNSIGNED) == 0
    assert exact_form() is OperandForm.UNSIGNED


def test_without_an_exact_form_there_is_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Saturating, "run", lambda _self, inputs: np.zeros(1))
    monkeypatch.setattr(operands, "OnnxModel", Saturating)
    with pytest.raises(FailedPrecondition, match="use the fp32 model") as found:
        exact_form()
    assert found.value.reason == "INEXACT_PRODUCTS"


def test_this_cpu_has_an_exact_form() -> None:
    assert wrong_cells(exact_form()) == 0


def test_refuses_what_is_no_graph() -> None:
    with pytest.raises(FailedPrecondition, match="cannot be read"):
        in_form(b"no graph", OperandForm.UNSIGNED)


def test_the_forms_hold_the_same_integers() -> None:
    kernel = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)
    graph = product_graph(kernel).SerializeToString()
    signed, unsigned = (_kernel(in_form(graph, form)) for form in OperandForm)
    assert (signed.dtype.name, unsigned.dtype.name) == ("int8", "uint8")
    assert np.array_equal(signed.astype(int), unsigned.astype(int) - 128)


def _kernel(graph: bytes) -> np.ndarray:
    (found,) = (
        numpy_helper.to_array(one)
        for one in onnx.load_model_from_string(graph).graph.initializer
        if one.name == "kernel.integers"
    )
    return np.asarray(found)


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return findings(tmp_path_factory.mktemp("native"))


def findings(folder: Path, *emulator: str) -> dict[str, Any]:
    command = [*emulator, sys.executable, "-m", "tests.encoder.models.emulated", str(folder)]
    found = subprocess.run(command, cwd=ROOT, check=True, timeout=100, capture_output=True)
    answer: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])
    return answer


@pytest.mark.slow
@pytest.mark.skipif(not QEMU, reason="qemu-x86_64 is not installed (Debian: qemu-user)")
@pytest.mark.skipif(sys.platform != "linux", reason="emulates Linux programs")
def test_a_cpu_without_vnni_computes_the_same_model(native: dict[str, Any], tmp_path: Path) -> None:
    assert QEMU
    haswell = findings(tmp_path, QEMU, "-cpu", "Haswell")
    assert haswell["wrong_cells"]["u8s8"] > 0
    assert haswell["form"] == "u8u8"
    for found in (native, haswell):
        assert found["wrong_cells"][found["form"]] == 0
        assert found["wrong_products"] == 0
        assert found["changed_in_company"] == 0
    assert haswell["fingerprint"] == native["fingerprint"]
    # what is not a product is float32, which other instructions round otherwise in the last bits
    for one, other in zip(haswell["vectors"], native["vectors"], strict=True):
        assert vector(one) @ vector(other) >= 0.9999


def vector(digits: str) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(digits), np.float32)
