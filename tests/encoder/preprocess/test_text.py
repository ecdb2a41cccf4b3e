"""Texts become token ids, truncated truthfully, and batches become tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchmesh_common.errors import FailedPrecondition, InvalidRequest
from searchmesh_encoder.prepared import InputRole, OnTooLong, Prepared, PrepareOptions
from searchmesh_encoder.preprocess.text import TextPreprocessor
from tests.models import WINDOW, write_text_model

if TYPE_CHECKING:
    from pathlib import Path

PREFIXES = {InputRole.QUERY: "q ", InputRole.DOCUMENT: ""}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text_model(tmp_path_factory.mktemp("tokenizer")).with_suffix(".json")


@pytest.fixture(scope="module")
def preprocessor(tokenizer: Path) -> TextPreprocessor:
    """One token a letter, two special ones."""
    return TextPreprocessor(tokenizer, window=WINDOW, prefixes=PREFIXES, max_characters=500)


def prepare(
    preprocessor: TextPreprocessor,
    text: str,
    role: InputRole = InputRole.DOCUMENT,
    on_too_long: OnTooLong = OnTooLong.TRUNCATE,
) -> Prepared[np.ndarray]:
    return preprocessor.prepare(text, PrepareOptions(role, on_too_long))


def test_a_short_text_keeps_its_tokens(preprocessor: TextPreprocessor) -> None:
    prepared = prepare(preprocessor, "ab c")
    assert (prepared.tokens, prepared.original_tokens, prepared.truncated) == (5, 5, False)
    assert prepared.parts[0].payload[0] == 2  # [CLS]
    assert prepared.parts[0].payload[-1] == 3  # [SEP]


def test_a_query_has_its_prefix(preprocessor: TextPreprocessor) -> None:
    query = prepare(preprocessor, "ab", InputRole.QUERY)
    assert (
        query.parts[0].payload.tolist() == prepare(preprocessor, "q ab").parts[0].payload.tolist()
    )


@given(letters=st.integers(1, 100))
def test_a_long_text_is_cut_and_counted(preprocessor: TextPreprocessor, letters: int) -> None:
    prepared = prepare(preprocessor, "a" * letters)
    assert prepared.original_tokens == letters + 2
    assert prepared.tokens == min(letters + 2, WINDOW)
    assert prepared.truncated == (letters + 2 > WINDOW)
    assert prepared.parts[0].payload[-1] == 3  # [SEP]


def test_a_long_text_is_refused_on_demand(preprocessor: TextPreprocessor) -> None:
    prepare(preprocessor, "a" * (WINDOW - 2), on_too_long=OnTooLong.REJECT)
    with pytest.raises(InvalidRequest, match="25 tokens given, the model reads at most 24"):
        prepare(preprocessor, "a" * (WINDOW - 1), on_too_long=OnTooLong.REJECT)


@pytest.mark.parametrize("text", ["", "   ", "\n\t\u2003"])
def test_an_empty_text_is_at_fault(preprocessor: TextPreprocessor, text: str) -> None:
    with pytest.raises(InvalidRequest, match="text: must hold a character"):
        prepare(preprocessor, text, InputRole.QUERY)


def test_a_text_of_nothing_readable_is_at_fault(preprocessor: TextPreprocessor) -> None:
    with pytest.raises(InvalidRequest, match="holds no character that the model reads"):
        prepare(preprocessor, "\x00\x01")


def test_a_text_beyond_the_limit_is_at_fault(preprocessor: TextPreprocessor) -> None:
    prepare(preprocessor, "a" * 500)
    with pytest.raises(InvalidRequest, match="501 characters given, at most 500; split it"):
        prepare(preprocessor, "a" * 501)


@given(text=st.text(max_size=100))
def test_any_text_is_read_or_at_fault(preprocessor: TextPreprocessor, text: str) -> None:
    try:
        prepared = prepare(preprocessor, text)
    except InvalidRequest:
        return
    assert 3 <= prepared.tokens <= WINDOW


def test_a_batch_is_padded_to_a_multiple_of_four(preprocessor: TextPreprocessor) -> None:
    texts = [prepare(preprocessor, text).parts[0].payload for text in ("a", "abcd")]
    tensors = preprocessor.collate(texts)
    assert tensors["input_ids"].shape == (2, 8)
    assert tensors["attention_mask"].sum(axis=1).tolist() == [3, 6]
    assert tensors["input_ids"][0, :3].tolist() == texts[0].tolist()
    assert not np.any(tensors["input_ids"] * (1 - tensors["attention_mask"]))


def test_refuses_a_file_that_is_no_tokenizer(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    with pytest.raises(FailedPrecondition, match="is not a tokenizer"):
        TextPreprocessor(path, window=8, prefixes=PREFIXES, max_characters=8)
