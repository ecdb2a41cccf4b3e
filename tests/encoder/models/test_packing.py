from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from searchmesh_encoder.models.graph import GraphWriter
from searchmesh_encoder.models.packing import Packing
from searchmesh_encoder.onnx_backend import OnnxModel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WIDTH = 3

Lengths = st.lists(st.integers(1, 9), min_size=1, max_size=6)
"""Of the texts of a batch, in tokens."""


def numbered(lengths: Sequence[int], sequence: int) -> tuple[np.ndarray, np.ndarray]:
    """Values that all differ, (batch, sequence, WIDTH) float32, and the mask of their tokens."""
    mask = (np.arange(sequence) < np.array(lengths)[:, None]).astype(np.int64)
    x = np.arange(mask.size * WIDTH, dtype=np.float32).reshape(*mask.shape, WIDTH)
    return x, mask


def graph(output: Callable[[GraphWriter, Packing], str], rank: int) -> OnnxModel:
    writer = GraphWriter()
    value = output(writer, Packing(writer, "mask"))
    shape = [f"axis{axis}" for axis in range(rank)]
    model = writer.model(
        "packing",
        [
            ("x", TensorProto.FLOAT, ("batch", "sequence", WIDTH)),
            ("mask", TensorProto.INT64, ("batch", "sequence")),
        ],
        (value, shape),
    )
    return OnnxModel(model.SerializeToString())


@pytest.fixture(scope="module")
def packed() -> OnnxModel:
    return graph(lambda _, packing: packing.packed("x", WIDTH), rank=2)


@pytest.fixture(scope="module")
def there_and_back() -> OnnxModel:
    return graph(lambda _, packing: packing.padded(packing.packed("x", WIDTH)), rank=3)


@pytest.fixture(scope="module")
def positions() -> OnnxModel:
    return graph(
        lambda writer, packing: writer.op(
            "Cast", [packing.positions], "positions", to=TensorProto.FLOAT
        ),
        rank=1,
    )


@given(lengths=Lengths, spare=st.integers(0, 4))
def test_the_tokens_alone_in_order(packed: OnnxModel, lengths: list[int], spare: int) -> None:
    x, mask = numbered(lengths, max(lengths) + spare)
    assert np.array_equal(packed.run({"x": x, "mask": mask}), x[mask == 1])


@given(lengths=Lengths, spare=st.integers(0, 4))
def test_every_token_comes_back_to_its_place(
    there_and_back: OnnxModel, lengths: list[int], spare: int
) -> None:
    x, mask = numbered(lengths, max(lengths) + spare)
    back = there_and_back.run({"x": x, "mask": mask})
    assert back.shape == x.shape
    assert np.array_equal(back[mask == 1], x[mask == 1])
    # padding holds what its text has, never what could spoil a product with 0
    last = x[np.arange(len(lengths)), np.array(lengths) - 1]
    assert np.array_equal(back[mask == 0], np.repeat(last, x.shape[1] - np.array(lengths), axis=0))


@given(lengths=Lengths, spare=st.integers(0, 4))
def test_positions_are_those_in_the_text(
    positions: OnnxModel, lengths: list[int], spare: int
) -> None:
    x, mask = numbered(lengths, max(lengths) + spare)
    expected = [place for length in lengths for place in range(length)]
    assert positions.run({"x": x, "mask": mask}).tolist() == expected
