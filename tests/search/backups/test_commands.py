"""The commands as a person calls them; `test_serving` calls them as a program does."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from searchmesh_search.__main__ import main

from .homes import a_home, places

if TYPE_CHECKING:
    from pathlib import Path


def call(monkeypatch: pytest.MonkeyPatch, home: Path, *arguments: str | Path) -> int:
    monkeypatch.setenv("SEARCHMESH_HOME", str(home))
    monkeypatch.setenv("SEARCH_ENGINE", str(places(home).engine))
    monkeypatch.setattr(sys, "argv", ["searchmesh-search", *map(str, arguments)])
    return main()


async def test_what_was_done_is_told_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    backup = tmp_path / "backup"
    async with a_home(tmp_path / "home"):
        assert call(monkeypatch, tmp_path / "home", "backup", backup) == 0
    told, complained = capsys.readouterr()
    assert told.startswith(f"backed up to {backup}: 3 documents of 1 collections as of 20")
    assert complained == ""
    assert call(monkeypatch, tmp_path / "new", "restore", backup) == 0
    told, _ = capsys.readouterr()
    assert told.startswith(f"restored to {tmp_path}/new/journal.db, ")


def test_why_it_was_not_done_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, tmp_path / "home", "backup", tmp_path / "backup") == 1
    told, complained = capsys.readouterr()
    assert told == ""
    assert complained == (
        f"searchmesh-search backup: {tmp_path}/home/journal.db does not exist; name the service's "
        "own settings\n"
    )


def test_help_tells_of_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        call(monkeypatch, tmp_path, "--help")
    told, _ = capsys.readouterr()
    assert "instead of serving:" in told
    assert "backup " in told
    assert "restore " in told
    assert "SEARCHMESH_HOME" in told
    with pytest.raises(SystemExit, match="2"):
        call(monkeypatch, tmp_path, "back-up", tmp_path)
