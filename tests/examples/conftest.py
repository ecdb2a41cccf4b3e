"""Both services for the examples, and the examples as modules."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from searchmesh.local import LocalMesh
from tests.client.mesh import free_connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="session")
def load() -> Callable[[str], Any]:
    """Imports an example by its name."""

    def import_(name: str) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(EXAMPLES)
            return importlib.import_module(name)

    return import_


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalMesh]:
    with LocalMesh(tmp_path_factory.mktemp("mesh"), free_connection()) as running:
        running.start()
        running.wait_until_serving(timeout=90)
        yield running
