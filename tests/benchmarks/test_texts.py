from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from encoder.texts import WINDOW, Texts

from searchmesh_encoder.models.catalogue import read_catalogue
from searchmesh_encoder.models.sources import fetch

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    card = read_catalogue(None)["all-minilm-l6-v2"]
    return fetch(card.tokenizer, tmp_path_factory.mktemp("downloads"), lambda _done, _all: None)


@pytest.fixture(scope="module")
def texts(tokenizer: Path) -> Texts:
    return Texts(tokenizer)


def test_a_text_has_the_tokens_that_were_asked_for(texts: Texts) -> None:
    for tokens in (4, 16, 100, WINDOW):
        assert texts.tokens(texts.text(tokens)) == tokens


def test_no_text_comes_twice(texts: Texts) -> None:
    queries = texts.queries(200)
    assert len(set(queries)) == len(queries)


def test_queries_are_short_and_passages_nearly_of_one_length(texts: Texts) -> None:
    assert {texts.tokens(one) for one in texts.queries(13)} == set(range(4, 17))
    lengths = [texts.tokens(one) for one in texts.passages(64)]
    assert max(lengths) <= WINDOW
    assert 236 <= sum(lengths) / len(lengths) <= 246


def test_the_same_texts_come_again(tokenizer: Path) -> None:
    assert Texts(tokenizer).mixed(5) == Texts(tokenizer).mixed(5)
