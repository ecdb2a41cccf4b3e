"""A model's own tokenizer: texts to ids, and ids to what the model reads."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer

from searchmesh_common.errors import FailedPrecondition

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tokenizers import Encoding

# The encoder's own threads work side by side, each at its lane's priority. The library's would
# not, and handing a text over to them costs more than a short one itself. Read with every call.
os.environ["TOKENIZERS_PARALLELISM"] = "false"


class TextTokenizer:
    """One tokenizer.json; safe to use from several threads, and blocks with the GIL released."""

    def __init__(self, file: Path) -> None:
        """Raises FailedPrecondition (BAD_TOKENIZER) where the file is not a tokenizer."""
        try:
            self._tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises nothing narrower
            raise FailedPrecondition(
                "BAD_TOKENIZER", f"{file} is not a tokenizer: {error}"
            ) from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._before, self._after = _special_ids(self._tokenizer)
        self.special_tokens = len(self._before) + len(self._after)
        """Tokens that every text has beside its own."""
        self.reads_words_alone = _reads_words_alone(self._tokenizer)
        """Whether a text's ids are those of its parts, wherever it is parted between two words."""

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, without special ones."""
        # the batch form because the single one holds the GIL, for a second for a million characters
        encodings: list[Encoding] = self._tokenizer.encode_batch_fast(
            list(texts), add_special_tokens=False
        )
        return [encoding.ids for encoding in encodings]

    def encoding(self, text: str) -> Encoding:
        """A text's tokens with their places in it, without special ones: costs twice as much."""
        encodings: list[Encoding] = self._tokenizer.encode_batch([text], add_special_tokens=False)
        return encodings[0]

    def model_input(self, ids: Sequence[int]) -> np.ndarray:
        """(tokens,) int64: a text's ids with the special ones around them."""
        return np.array([*self._before, *ids, *self._after], np.int64)


def _special_ids(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """The ids that stand before and after every text's own."""
    letter = tokenizer.encode("a", add_special_tokens=False)
    own: list[int] = letter.ids
    around: list[int] = tokenizer.post_process(letter).ids
    for start in range(len(around) - len(own) + 1):
        if around[start : start + len(own)] == own:
            return around[:start], around[start + len(own) :]
    raise FailedPrecondition("BAD_TOKENIZER", "the tokenizer changes a text's ids afterwards")


def _reads_words_alone(tokenizer: Tokenizer) -> bool:
    """Whether it is BERT's: what comes before a word, or after, does not change the word's ids."""
    parts: dict[str, Any] = json.loads(tokenizer.to_str())
    kinds = [(parts[part] or {}).get("type") for part in ("normalizer", "pre_tokenizer", "model")]
    return kinds == ["BertNormalizer", "BertPreTokenizer", "WordPiece"] and all(
        _lies_in_a_word(token) for token in parts["added_tokens"]
    )


def _lies_in_a_word(token: dict[str, Any]) -> bool:
    """Whether a token that is looked for in the text itself can only be found between borders."""
    content: str = token["content"]
    takes_more = token["lstrip"] or token["rstrip"] or token["single_word"]
    return not takes_more and content.isascii() and content.split() == [content]
