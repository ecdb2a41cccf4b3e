"""The tokens of a batch without its padding, as a graph finds them.

    padded (batch, sequence, ...)  <->  packed (tokens, ...), the texts one after the other

All that is computed for each token by itself is computed packed, so that texts of unequal length
may share a batch for what their tokens cost. Only what looks at a whole text is padded: attention
and pooling. A row's product with a kernel does not depend on the rows beside it, so it is the same
either way, see `products` and `bert`.

Source: Zhai et al. 2023, ByteTransformer, section III-D, for the way there and back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from searchmesh_encoder.models.graph import GraphWriter


class Packing:
    """The way from padded values to packed ones and back, for all values of a graph."""

    def __init__(self, graph: GraphWriter, mask: str) -> None:
        """mask: a value of shape (batch, sequence), int64: 1 for a token, 0 for padding.

        A text's tokens come before its padding.
        """
        self._graph = graph
        integers = graph.integers
        flat = graph.op("Reshape", [mask, integers(-1)], "flat_mask")
        places = graph.op("NonZero", [flat], "places_row")
        self._places = graph.op("Squeeze", [places, integers(0)], "places")
        count = graph.op("CumSum", [flat, graph.constant("first_axis", np.int64(0))], "token_count")
        number = graph.op("Sub", [count, integers(1)], "token_number")
        shape = graph.op("Shape", [mask], "padded_shape")
        self._numbers = graph.op("Reshape", [number, shape], "token_numbers")
        length = graph.op("Slice", [shape, integers(1), integers(2)], "sequence_length")
        self.positions = graph.op("Mod", [self._places, length], "token_positions")
        """(tokens,): each token's place in its text."""

    def packed(self, x: str, *shape: int) -> str:
        """(tokens, *shape). x: a value of (batch, sequence, *shape)."""
        flat = self._graph.op("Reshape", [x, self._graph.integers(-1, *shape)], f"{x}.flat")
        return self._graph.op("Gather", [flat, self._places], f"{x}.packed")

    def padded(self, x: str) -> str:
        """(batch, sequence, ...). x: a value of (tokens, ...).

        In the place of padding is the token before it: a number like any other, which whatever
        looks at it has to leave out.
        """
        return self._graph.op("Gather", [x, self._numbers], f"{x}.padded")
