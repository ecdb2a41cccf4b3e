"""Texts of given lengths in tokens, cut from the documentation of Python's standard library.

Every machine has that, and the same interpreter and seed always give the same texts.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import stdlib_corpus
from tokenizers import Tokenizer

if TYPE_CHECKING:
    from pathlib import Path

QUERY_TOKENS = (4, 16)
"""Fewest and most tokens of a short query. All lengths here count the special tokens."""

PASSAGE_TOKENS = 241
"""Tokens of a bulk passage, on average."""

WINDOW = 256
"""Most tokens of a text."""

_PASSAGE_SPREAD = 10
_CORPUS_CHARACTERS = 500_000


class Texts:
    """A source of texts, none of which comes twice."""

    def __init__(self, tokenizer: Path, seed: int = 0) -> None:
        """tokenizer: the model's tokenizer.json."""
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._special_tokens: int = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        self._random = random.Random(seed)
        self._corpus = self._shuffled_corpus()
        self._offsets: list[tuple[int, int]] = self._tokenizer.encode(
            self._corpus, add_special_tokens=False
        ).offsets
        self._given: set[str] = set()

    def queries(self, count: int) -> list[str]:
        """Short texts, evenly spread over the lengths of queries."""
        fewest, most = QUERY_TOKENS
        lengths = [fewest + round(at * (most - fewest) / max(1, count - 1)) for at in range(count)]
        return [self.text(length) for length in lengths]

    def passages(self, count: int) -> list[str]:
        """Texts of nearly one length."""
        lengths = (self._random.gauss(PASSAGE_TOKENS, _PASSAGE_SPREAD) for _ in range(count))
        return [self.text(min(round(length), WINDOW)) for length in lengths]

    def mixed(self, count: int) -> list[str]:
        """Texts from the shortest query to the window, every length as likely as any other."""
        return [self.text(self._random.randint(QUERY_TOKENS[0], WINDOW)) for _ in range(count)]

    def text(self, tokens: int) -> str:
        """A text of exactly so many tokens."""
        inner = tokens - self._special_tokens
        while True:
            first = self._random.randrange(1, len(self._offsets) - inner)
            begin, end = self._offsets[first][0], self._offsets[first + inner - 1][1]
            text = self._corpus[begin:end]
            # a cut within a word may be read as other tokens
            starts_word = self._corpus[begin].isalpha() and self._corpus[begin - 1] == " "
            if starts_word and text not in self._given and self.tokens(text) == tokens:
                self._given.add(text)
                return text

    def tokens(self, text: str) -> int:
        """Length of a text."""
        return len(self._tokenizer.encode(text))

    def _shuffled_corpus(self) -> str:
        documents = stdlib_corpus.documents()
        self._random.shuffle(documents)
        words = (word for one in documents for word in str(one.content).split())
        return " ".join(words)[:_CORPUS_CHARACTERS]
