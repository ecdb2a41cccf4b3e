"""Scores between vectors, as engines give them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from searchmesh_search.engine import BINARY_METRICS, Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray


def similarities(ones: np.ndarray, others: np.ndarray, metric: Metric) -> NDArray[np.float64]:
    """The score of each of `ones` with each of `others`: higher is better.

    ones: (m, dimension) float32, or (m, dimension / 8) uint8 of packed bits for a binary metric;
    others: (n, …) alike. For COSINE none is of length 0. Returns (m, n).
    """
    if metric in BINARY_METRICS:
        return _binary(np.unpackbits(ones, axis=1), np.unpackbits(others, axis=1), metric)
    ones, others = ones.astype(np.float64), others.astype(np.float64)
    if metric is Metric.COSINE:
        ones, others = unit(ones), unit(others)
    products: NDArray[np.float64] = ones @ others.T
    if metric is not Metric.EUCLIDEAN:
        return products
    squares = _squares(ones)[:, None] + _squares(others)[None] - 2 * products
    # of equal vectors rounding may leave a little less than nothing
    distances: NDArray[np.float64] = np.sqrt(np.maximum(squares, 0))
    return -distances


def unit(vectors: np.ndarray) -> NDArray[np.float64]:
    """(n, dimension) vectors, none of length 0, each made of unit length."""
    exact = vectors.astype(np.float64)
    scaled: NDArray[np.float64] = exact / np.linalg.norm(exact, axis=1, keepdims=True)
    return scaled


def _binary(ones: np.ndarray, others: np.ndarray, metric: Metric) -> NDArray[np.float64]:
    """(m, dimension) and (n, dimension) of zeros and ones."""
    ones, others = ones.astype(np.float64), others.astype(np.float64)
    shared: NDArray[np.float64] = ones @ others.T
    either = ones.sum(axis=1)[:, None] + others.sum(axis=1)[None] - shared
    if metric is Metric.HAMMING:
        differing: NDArray[np.float64] = either - shared
        return -differing
    # engines find two vectors without a bit as unlike as can be
    tanimoto: NDArray[np.float64] = np.zeros_like(shared)
    np.divide(shared, either, out=tanimoto, where=either > 0)
    return tanimoto


def _squares(vectors: np.ndarray) -> NDArray[np.float64]:
    squares: NDArray[np.float64] = np.einsum("nd,nd->n", vectors, vectors)
    return squares
