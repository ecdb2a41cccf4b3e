"""Powers of two that bring the components of an activation nearer to each other in size.

A file of them is JSON: for each smoothed value the exponents of its components. They depend on the
model alone, and are kept as whole numbers because a factor computed anew on another machine could
differ in its last bit, and with it every vector under the same fingerprint.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from searchmesh_common.errors import FailedPrecondition

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LARGEST = 8
"""Of an exponent, up and down."""

_STRENGTH = 0.75
"""How much of the difference goes from activations to kernels: 1 is all of it."""


def read_smoothing(path: Path, dimension: int) -> Mapping[str, np.ndarray]:
    """The factors of each value, (dimension,) float32.

    Raises FailedPrecondition (BAD_SMOOTHING) where the file holds something else.
    """
    try:
        content: Mapping[str, list[int]] = json.loads(path.read_text(encoding="utf-8"))
        exponents = {name: np.array(one, np.int64) for name, one in content.items()}
    except (OSError, ValueError, AttributeError, TypeError, OverflowError) as error:
        raise FailedPrecondition("BAD_SMOOTHING", f"{path} holds no exponents: {error}") from error
    for name, one in exponents.items():
        if one.shape != (dimension,) or np.abs(one).max() > _LARGEST:
            raise FailedPrecondition(
                "BAD_SMOOTHING",
                f"{path}: {name}: must be {dimension} whole numbers from -{_LARGEST} to {_LARGEST}",
            )
    return {name: np.exp2(one).astype(np.float32) for name, one in exponents.items()}


def smoothing_exponents(largest: np.ndarray, kernels: np.ndarray) -> np.ndarray:
    """Exponents for one value, (components,) int64.

    largest: (components,), the largest magnitude of each. kernels: (components, outputs), all that
    the value is multiplied with.
    """
    sizes = np.log2(np.sqrt((kernels.astype(np.float64) ** 2).mean(axis=1)))
    exponents = (1 - _STRENGTH) * sizes - _STRENGTH * np.log2(largest.astype(np.float64))
    rounded = np.rint(exponents - exponents.mean())
    return np.asarray(np.clip(rounded, -_LARGEST, _LARGEST), np.int64)
