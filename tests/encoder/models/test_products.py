"""Integer products equal their definition bit for bit, each row in any company."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchmesh_encoder.models.operands import OperandForm, in_form, wrong_cells
from searchmesh_encoder.onnx_backend import OnnxModel

from .reference import product, product_graph

INPUTS, OUTPUTS = 96, 40
EXACT = [form for form in OperandForm if not wrong_cells(form)]


def kernel() -> np.ndarray:
    values = np.random.default_rng(1).normal(size=(INPUTS, OUTPUTS)).astype(np.float32)
    values[:, 3] = 0
    values[:, 4] *= 1e-20
    values[:, 5] = 127
    return values


@pytest.fixture(scope="module", params=EXACT, ids=lambda form: form.value)
def multiply(request: pytest.FixtureRequest) -> OnnxModel:
    return OnnxModel(in_form(product_graph(kernel()).SerializeToString(), request.param))


def run(multiply: OnnxModel, x: np.ndarray) -> np.ndarray:
    return multiply.run({"x": x, "tokens": np.zeros(x.shape[:2], np.int64)})


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 9)),
    exponent=st.integers(-30, 30),
)
def test_equals_its_definition(
    multiply: OnnxModel, seed: int, shape: tuple[int, int], exponent: int
) -> None:
    random = np.random.default_rng(seed)
    x = random.standard_t(3, (*shape, INPUTS)).astype(np.float32) * np.float32(2.0**exponent)
    assert np.array_equal(run(multiply, x), product(x, kernel()))


@pytest.mark.parametrize("halves", [0.5, 1.5, 2.5, -0.5, -1.5, -126.5])
def test_halves_go_to_the_even_integer(multiply: OnnxModel, halves: float) -> None:
    x = np.full((1, 4, INPUTS), halves, np.float32)
    x[..., 0] = 127
    assert np.array_equal(run(multiply, x), product(x, kernel()))


@pytest.mark.parametrize("value", [0.0, -0.0, 1e-38, 1e-35, 1e30, -1e30])
def test_rows_of_one_value(multiply: OnnxModel, value: float) -> None:
    x = np.full((2, 4, INPUTS), value, np.float32)
    found = run(multiply, x)
    assert np.array_equal(found, product(x, kernel()))
    assert np.isfinite(found).all()


def test_a_row_is_the_same_in_any_company(multiply: OnnxModel) -> None:
    x = np.random.default_rng(0).normal(size=(6, 12, INPUTS)).astype(np.float32)
    whole = run(multiply, x)
    x[1:] *= 1000
    assert np.array_equal(run(multiply, x)[0], whole[0])
    assert np.array_equal(run(multiply, x[:1, :1])[0, 0], whole[0, 0])


def test_smoothing_is_part_of_the_definition() -> None:
    random = np.random.default_rng(0)
    factors = np.exp2(random.integers(-8, 9, INPUTS)).astype(np.float32)
    x = (random.normal(size=(3, 4, INPUTS)) / factors).astype(np.float32)
    weights = (random.normal(size=(INPUTS, OUTPUTS)) * factors[:, None]).astype(np.float32)
    graph = product_graph(weights, factors).SerializeToString()
    found = run(OnnxModel(in_form(graph, EXACT[0])), x)
    assert np.array_equal(found, product(x, weights, factors))
    # the large components leave the small ones their digits
    exact = x.astype(np.float64) @ weights
    rough = product(x, weights)
    assert np.abs(found - exact).mean() < np.abs(rough - exact).mean() / 4
