"""A tokenizer's ids, and what is known of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tokenizers import Tokenizer

from searchmesh_common.errors import FailedPrecondition
from searchmesh_encoder.preprocess.tokenizer import TextTokenizer

from .tokenizers import KINDS, byte_pairs, unigrams, word_pieces

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_special_ids_are_those_of_the_tokenizer(
    kind: Callable[[Path], Path], tmp_path: Path
) -> None:
    file = kind(tmp_path)
    tokenizer = TextTokenizer(file)
    (ids,) = tokenizer.ids(["ab a. b"])
    whole = Tokenizer.from_file(str(file)).encode("ab a. b")
    assert tokenizer.model_input(ids).tolist() == whole.ids
    assert tokenizer.special_tokens == len(whole.ids) - len(ids)
    assert tokenizer.encoding("ab a. b").ids == ids


def test_only_bert_is_known_to_read_words_alone(tmp_path: Path) -> None:
    assert TextTokenizer(word_pieces(tmp_path)).reads_words_alone
    assert not TextTokenizer(byte_pairs(tmp_path)).reads_words_alone
    assert not TextTokenizer(unigrams(tmp_path)).reads_words_alone


@pytest.mark.parametrize(
    ("token", "reads_words_alone"),
    [
        ({"content": "[X]"}, True),
        ({"content": "and so. on"}, False),
        ({"content": "。b"}, False),
        ({"content": "[X]", "lstrip": True}, False),
    ],
)
def test_added_tokens_may_reach_over_borders(
    token: dict[str, Any], reads_words_alone: bool, tmp_path: Path
) -> None:
    file = word_pieces(tmp_path)
    parts = json.loads(file.read_text())
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    parts["added_tokens"].append({"id": 1000, **flags, **token})
    file.write_text(json.dumps(parts))
    assert TextTokenizer(file).reads_words_alone == reads_words_alone


def test_refuses_a_file_that_is_no_tokenizer(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    with pytest.raises(FailedPrecondition, match="is not a tokenizer"):
        TextTokenizer(path)
