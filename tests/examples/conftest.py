"""The examples as modules."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="session")
def load() -> Callable[[str], Any]:
    """Imports an example by its name."""

    def import_(name: str) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(EXAMPLES)
            return importlib.import_module(name)

    return import_
