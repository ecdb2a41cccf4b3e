"""The command line, run in this process against the real services."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from searchmesh.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.mesh import Mesh


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """Standard output as the one JSON value that it must be."""
        return json.loads(self.stdout)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Runs a command line."""
    monkeypatch.setenv("COLUMNS", "100")

    def run_(*arguments: str) -> Ran:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, err = capsys.readouterr()
        code = ended.value.code
        assert isinstance(code, int)
        return Ran(code, out, err)

    return run_


@pytest.fixture
def on_mesh(
    run: Callable[..., Ran], mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Ran]:
    """Runs a command line against the real services."""
    monkeypatch.setenv("SEARCHMESH_ENCODER", mesh.connection.encoder)
    monkeypatch.setenv("SEARCHMESH_SEARCH", mesh.connection.search)
    return run
