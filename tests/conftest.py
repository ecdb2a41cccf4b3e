"""What tests of several areas share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.mesh import Mesh

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """Both services as processes, for tests that leave them as they found them.

    One mesh for all areas, as each takes seconds to start: a test makes a collection of its own and
    deletes it.
    """
    mesh = Mesh(tmp_path_factory.mktemp("mesh"))
    try:
        mesh.start()
        yield mesh
    finally:
        mesh.close()
