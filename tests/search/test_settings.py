from __future__ import annotations

from pathlib import Path

import pytest

from searchmesh_common.settings import SettingsError, help_text, load
from searchmesh_search.settings import PREFIX, SearchSettings


def test_everything_lives_under_the_home_folder_unless_told_otherwise(tmp_path: Path) -> None:
    settings = load(SearchSettings, PREFIX, {"SEARCHMESH_HOME": str(tmp_path)})
    assert settings.engine_uri == str(tmp_path / "engine" / "milvus.db")
    assert settings.journal_url == f"sqlite:///{tmp_path}/journal.db"
    assert settings.contents_folder == tmp_path / "contents"


def test_each_part_can_live_elsewhere() -> None:
    settings = load(
        SearchSettings,
        PREFIX,
        {
            "SEARCH_ENGINE": "http://milvus:19530",
            "SEARCH_JOURNAL": "sqlite:////data/journal.db",
            "SEARCH_CONTENTS": "/data/contents",
        },
    )
    assert settings.engine_uri == "http://milvus:19530"
    assert settings.journal_url == "sqlite:////data/journal.db"
    assert settings.contents_folder == Path("/data/contents")


def test_a_relative_home_gives_an_absolute_journal() -> None:
    settings = load(SearchSettings, PREFIX, {"SEARCHMESH_HOME": "state"})
    assert settings.journal_url == f"sqlite:///{Path.cwd()}/state/journal.db"


def test_a_bad_value_names_its_variable() -> None:
    with pytest.raises(SettingsError, match="SEARCH_HEALTH_INTERVAL_SECONDS='no'"):
        load(SearchSettings, PREFIX, {"SEARCH_HEALTH_INTERVAL_SECONDS": "no"})


def test_help_names_every_variable() -> None:
    text = help_text(SearchSettings, PREFIX)
    for name in ("SEARCHMESH_HOME", "SEARCH_ENCODER", "SEARCH_ENGINE", "SEARCH_JOURNAL"):
        assert f"{name} " in text
