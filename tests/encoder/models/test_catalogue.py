"""Our own cards are sound; an operator's folder adds to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from searchmesh_encoder.models.card import CardError
from searchmesh_encoder.models.catalogue import OWN_CARDS, read_catalogue
from tests.models import write_text_model

if TYPE_CHECKING:
    from pathlib import Path


def test_file_and_model_have_one_name() -> None:
    assert sorted(read_catalogue()) == sorted(path.stem for path in OWN_CARDS.glob("*.yaml"))


def test_extra_cards_come_beside_ours_and_replace_those_of_their_name(tmp_path: Path) -> None:
    write_text_model(tmp_path, "tiny")
    write_text_model(tmp_path, "all-minilm-l6-v2")
    cards = read_catalogue(tmp_path)
    assert list(cards) == ["all-minilm-l6-v2", "all-minilm-l6-v2-int8", "tiny"]
    assert cards["all-minilm-l6-v2"].dimension == 16


def test_refuses_a_missing_folder_and_a_name_twice(tmp_path: Path) -> None:
    with pytest.raises(CardError, match="not a folder"):
        read_catalogue(tmp_path / "missing")
    write_text_model(tmp_path, "tiny")
    (tmp_path / "other.yaml").write_bytes((tmp_path / "tiny.yaml").read_bytes())
    with pytest.raises(CardError, match="another card of this folder is called tiny"):
        read_catalogue(tmp_path)
