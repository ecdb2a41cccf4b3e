"""Passages: all of a text, in order, within the window, with the ids of their own texts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchmesh_common.errors import FailedPrecondition, InvalidRequest
from searchmesh_encoder.prepared import InputRole, PrepareOptions, Segmentation
from searchmesh_encoder.preprocess import passages
from searchmesh_encoder.preprocess.passages import PassageCutter
from searchmesh_encoder.preprocess.text import TextPreprocessor
from searchmesh_encoder.preprocess.tokenizer import TextTokenizer

from .tokenizers import KINDS, byte_pairs, word_pieces

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from tokenizers import Encoding

    from searchmesh_encoder.prepared import Prepared, TextSpan

# a prefix that ends a word, and one whose last letter is a token with the text's first
PREFIXES = {InputRole.QUERY: "q ", InputRole.DOCUMENT: "a"}

# letters and separators, characters that are deleted, moved or expanded, and astral ones
CHARACTERS = st.sampled_from(
    "aabbc AB.!? \n\r\t。！字字é\u0301\u0366\u1dfb가각\x00\x07\x0c\x1c\x85\u2028\u200d\ufdfa\ufffd"  # noqa: RUF001
    "\U0001f600\U0001f1e9\u0628\u0660\u302e\u0130ß"
)
TEXTS = st.text(CHARACTERS | st.characters(exclude_categories=["Cs"]), max_size=120)


@dataclass(frozen=True)
class Cutter:
    """One preprocessor and the window that it keeps to."""

    preprocessor: TextPreprocessor
    window: int

    def cut(self, text: str, role: InputRole = InputRole.QUERY) -> Prepared[np.ndarray]:
        options = PrepareOptions(role, segmentation=Segmentation.SEGMENTS)
        return self.preprocessor.prepare(text, options)

    def whole(self, text: str, role: InputRole = InputRole.QUERY) -> Prepared[np.ndarray]:
        return self.preprocessor.prepare(text, PrepareOptions(role))


def cutter(tokenizer: Path, window: int = 24) -> Cutter:
    return Cutter(
        TextPreprocessor(tokenizer, window=window, prefixes=PREFIXES, max_characters=10**6), window
    )


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.__name__)
def any_cutter(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Cutter:
    return cutter(request.param(tmp_path_factory.mktemp("tokenizer")))


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Cutter:
    """One token a letter; a window of 24 with two special ones, and one of the prefix."""
    return cutter(word_pieces(tmp_path_factory.mktemp("tokenizer")))


def spans(prepared: Prepared[np.ndarray]) -> list[TextSpan]:
    return [part.segment for part in prepared.parts if part.segment]


def shown(prepared: Prepared[np.ndarray]) -> Sequence[str]:
    return [span.text for span in spans(prepared)]


@given(text=TEXTS, role=st.sampled_from(InputRole))
def test_passages_are_all_of_the_text_in_order_and_as_read_alone(
    any_cutter: Cutter, text: str, role: InputRole
) -> None:
    try:
        whole = any_cutter.whole(text, role)
    except InvalidRequest as error:
        with pytest.raises(InvalidRequest, match=str(error)):
            any_cutter.cut(text, role)
        return
    cut = any_cutter.cut(text, role)
    assert (cut.original_tokens, cut.truncated) == (whole.original_tokens, False)
    assert cut.tokens == sum(part.length for part in cut.parts)
    assert (len(cut.parts) == 1) == (whole.original_tokens <= any_cutter.window)
    covered: set[int] = set()
    for part, span in zip(cut.parts, spans(cut), strict=True):
        assert span.text == text[span.start : span.end] == span.text.strip() != ""
        assert part.length == len(part.payload) <= any_cutter.window
        alone = any_cutter.whole(span.text, role)
        assert part.payload.tolist() == alone.parts[0].payload.tolist()
        covered.update(range(span.start, span.end))
    assert all(place in covered or character.isspace() for place, character in enumerate(text))
    for before, after in pairwise(spans(cut)):
        assert before.start < after.start
        assert before.end < after.end


def test_passages_end_with_sentences_and_repeat_whole_ones(letters: Cutter) -> None:
    # three letters and a stop are four tokens, of which five times fit into 21; a fifth is four
    text = " ".join(f"{word}." for word in ("Abc", "Bcd", "Cde", "Def", "Efg", "Fgh", "Ghi"))
    assert shown(letters.cut(text)) == [
        "Abc. Bcd. Cde. Def. Efg.",
        "Efg. Fgh. Ghi.",
    ]


def test_a_sentence_that_is_too_long_to_repeat_is_not_repeated(letters: Cutter) -> None:
    text = "Abcdefgh abcdefgh. Abcdefgh ijklmnop. Ab."
    assert shown(letters.cut(text)) == ["Abcdefgh abcdefgh.", "Abcdefgh ijklmnop. Ab."]


def test_a_sentence_longer_than_the_window_is_cut_between_words(letters: Cutter) -> None:
    words = ["abc", "defg", "hi", "jkl", "mn", "opq", "rstu", "vw", "xyz"] * 3
    text = " ".join(words)
    for passage in shown(letters.cut(text)):
        assert set(passage.split()) <= set(words)
    assert all(len(part.payload) > 16 for part in letters.cut(text).parts[:-1])


def test_an_endless_word_is_cut_anywhere(letters: Cutter) -> None:
    text = "abcdefghij" * 9
    cut = letters.cut(text)
    assert all(part.length >= letters.window - 1 for part in cut.parts[:-2])
    assert all(before.end > after.start for before, after in pairwise(spans(cut)[:-1]))


def test_a_word_that_fits_the_window_is_cut_nowhere(letters: Cutter) -> None:
    words = ["abcdefghijkl", "mnopqrstuvwx"] * 5
    assert {
        word for passage in shown(letters.cut(" ".join(words))) for word in passage.split()
    } == (set(words))


def test_a_word_that_is_one_token_is_not_cut(letters: Cutter) -> None:
    # WordPiece gives up words of more than 100 letters
    assert shown(letters.cut("a" * 100_000)) == ["a" * 100_000]


def test_a_character_larger_than_the_window_loses_its_end(tmp_path: Path) -> None:
    small = cutter(byte_pairs(tmp_path), window=5)  # the prefix has two tokens
    cut = small.cut("\U0001f600\U0001f600")
    assert shown(cut) == ["\U0001f600"] * 2
    assert [part.length for part in cut.parts] == [5, 5]


def test_a_text_makes_no_more_passages_than_may_be(
    letters: Cutter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passages, "MOST_PASSAGES", 3)
    assert len(letters.cut("Abc. " * 12).parts) == 3
    with pytest.raises(InvalidRequest, match="text: makes more than 3 passages of 24 tokens"):
        letters.cut("Abc. " * 20)


def test_a_prefix_must_leave_room(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="a window of 3 tokens leaves no room after 'q '"):
        cutter(word_pieces(tmp_path), window=3)


class Counting(TextTokenizer):
    """Counts the characters that it is given."""

    characters = 0

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        self.characters += sum(map(len, texts))
        return super().ids(texts)

    def encoding(self, text: str) -> Encoding:
        self.characters += len(text)
        return super().encoding(text)


@pytest.mark.parametrize("stop", [". ", " "], ids=["sentences", "no sentences"])
def test_a_text_is_tokenised_once(stop: str, tmp_path: Path) -> None:
    tokenizer = Counting(word_pieces(tmp_path))
    window = 256
    passage_cutter = PassageCutter(tokenizer, "", window)
    text = stop.join(["The quick brown fox jumps over the lazy dog, and again"] * 500)
    cut = passage_cutter.cut(text)
    assert tokenizer.characters <= len(text)
    assert cut.tokens <= 1.3 * cut.original_tokens
    assert all(part.length > 0.8 * window for part in cut.parts[:-1])
