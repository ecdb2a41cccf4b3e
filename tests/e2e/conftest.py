from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.mesh import Mesh

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def own_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A mesh that is not started yet, for a test that breaks it."""
    mesh = Mesh(tmp_path_factory.mktemp("mesh"))
    try:
        yield mesh
    finally:
        mesh.close()
