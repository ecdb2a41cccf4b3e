"""The models that the encoder's tests share, each built once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from searchmesh_encoder.models.card import read_card
from searchmesh_encoder.models.catalogue import read_catalogue
from searchmesh_encoder.models.store import ModelStore
from searchmesh_encoder.text_model import TextModel
from tests.models import write_text_model

if TYPE_CHECKING:
    from pathlib import Path


def ignore_progress(_done: int, _total: int | None) -> None:
    """For what is not downloaded."""


@pytest.fixture(scope="session")
def tiny_cards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the card of the model `tiny`."""
    return write_text_model(tmp_path_factory.mktemp("cards")).parent


@pytest.fixture(scope="session")
def tiny(tiny_cards: Path, tmp_path_factory: pytest.TempPathFactory) -> TextModel:
    """A BERT of random weights, 16 components, a window of 24."""
    card = read_card(tiny_cards / "tiny.yaml")
    store = ModelStore(tmp_path_factory.mktemp("tiny"))
    return TextModel(card, store.built(card, ignore_progress), max_characters=1000)


@pytest.fixture(scope="session")
def tiny_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder for servers of `tiny`, which the first of them builds."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> TextModel:
    """The model that is served by default, from the weights of its package."""
    return _own_model("all-minilm-l6-v2", tmp_path_factory.mktemp("minilm"))


@pytest.fixture(scope="session")
def minilm_int8(tmp_path_factory: pytest.TempPathFactory) -> TextModel:
    """The same model in exact int8."""
    return _own_model("all-minilm-l6-v2-int8", tmp_path_factory.mktemp("minilm-int8"))


def _own_model(name: str, folder: Path) -> TextModel:
    card = read_catalogue()[name]
    built = ModelStore(folder).built(card, ignore_progress)
    return TextModel(card, built, max_characters=1_000_000)
