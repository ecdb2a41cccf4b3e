"""Global options wherever they stand."""

from __future__ import annotations

import pytest
import typer

from searchmesh.cli import app
from searchmesh.cli.global_options import FLAGS, WITH_VALUE, hoisted


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["search", "c", "text", "--json"], ["--json", "search", "c", "text"]),
        (["models", "--encoder", "host:1"], ["--encoder", "host:1", "models"]),
        (["models", "--timeout=3"], ["--timeout=3", "models"]),
        (["search", "c", "--", "--json"], ["search", "c", "--", "--json"]),
        (["models", "--encoder"], ["--encoder", "models"]),
        ([], []),
    ],
)
def test_they_are_moved_before_the_command(given: list[str], expected: list[str]) -> None:
    assert hoisted(given) == expected


def test_every_global_option_is_known() -> None:
    options = {
        option
        for parameter in typer.main.get_command(app.app).params
        for option in parameter.opts
        if option.startswith("--")
    }
    assert options - {"--help"} == {*WITH_VALUE, *FLAGS}
