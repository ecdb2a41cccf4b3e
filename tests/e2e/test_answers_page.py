"""The example of docs/answers.md is run, and prints what it should."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from tests.mesh import Mesh

PAGE = Path(__file__).parents[2] / "docs" / "answers.md"


def test_the_example_answers(mesh: Mesh, capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    connected = block.replace("Client()", "Client(connection)")
    try:
        exec(connected, {"connection": mesh.connection})
        assert capsys.readouterr().out.splitlines() == [
            "Settings.",
            "shipping",
            "4",
            str(["3", "2"]),
            str(["3", "1"]),
            "1",
            "3",
        ]
    finally:
        mesh.client.delete_collection("faq")
