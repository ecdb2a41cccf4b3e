"""Texts to token ids, and the ids of a batch to tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from searchmesh_common.errors import FieldViolation, InvalidRequest
from searchmesh_encoder.prepared import (
    InputRole,
    OnTooLong,
    Part,
    Prepared,
    Segmentation,
    TooLong,
)
from searchmesh_encoder.preprocess.passages import PassageCutter, unreadable
from searchmesh_encoder.preprocess.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from searchmesh_encoder.prepared import PrepareOptions

PREPROCESSING_VERSION = 1
"""Raised with every change that may change a token or a passage; part of every fingerprint."""

_SEQUENCE_MULTIPLE = 4
"""Batches are padded to a multiple of this; `models.bert` says why."""


class TextPreprocessor:
    """One model's way with texts; safe to use from several threads."""

    def __init__(
        self,
        tokenizer: Path,
        *,
        window: int,
        prefixes: Mapping[InputRole, str],
        max_characters: int,
    ) -> None:
        """tokenizer: a tokenizer.json. window: most tokens of a text, special ones included.

        prefixes: what is put before a text, for each role.
        Raises FailedPrecondition: BAD_TOKENIZER where the file is not a tokenizer, BAD_WINDOW
        where a prefix leaves no room for a text.
        """
        self._tokenizer = TextTokenizer(tokenizer)
        self._window = window
        self._prefixes = prefixes
        self._prefix_ids = {
            role: self._tokenizer.ids([prefix])[0] for role, prefix in prefixes.items()
        }
        self._cutters = {
            role: PassageCutter(self._tokenizer, prefix, window)
            for role, prefix in prefixes.items()
        }
        self._max_characters = max_characters

    def prepare(self, text: str, options: PrepareOptions) -> Prepared[np.ndarray]:
        """Tokenise a text; blocks, with the GIL released: about a millisecond for 1,000 characters.

        A part's payload is its token ids, (tokens,) int64, special tokens included.
        Raises InvalidRequest, with fields relative to the content, where the text is empty or
        longer than it may be: TooLong where that is the window.
        """
        if not text.strip():
            raise InvalidRequest.of("text", "must hold a character that is not white space")
        if len(text) > self._max_characters:
            raise InvalidRequest.of(
                "text", f"{len(text)} characters given, at most {self._max_characters}; split it"
            )
        if options.segmentation is Segmentation.SEGMENTS:
            return self._cutters[options.role].cut(text)
        return self._whole(text, options)

    @staticmethod
    def padded_length(longest: int) -> int:
        """The length that `collate` gives to all texts of a batch. longest: of them, in tokens."""
        return -(-longest // _SEQUENCE_MULTIPLE) * _SEQUENCE_MULTIPLE

    def collate(self, texts: Sequence[np.ndarray]) -> Mapping[str, np.ndarray]:
        """The tensors of a batch. texts: the token ids of each.

        Returns `input_ids` and `attention_mask`, (texts, sequence) int64: sequence is the longest
        text's length rounded up, padding is 0.
        """
        sequence = self.padded_length(max(map(len, texts)))
        ids = np.zeros((len(texts), sequence), np.int64)
        mask = np.zeros((len(texts), sequence), np.int64)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
        return {"input_ids": ids, "attention_mask": mask}

    def _whole(self, text: str, options: PrepareOptions) -> Prepared[np.ndarray]:
        """A text as one part, its end left out where it is too long."""
        (ids,) = self._tokenizer.ids([self._prefixes[options.role] + text])
        if ids == self._prefix_ids[options.role]:
            raise unreadable()
        tokens = len(ids) + self._tokenizer.special_tokens
        if tokens > self._window and options.on_too_long is OnTooLong.REJECT:
            fault = FieldViolation(
                "text",
                f"{tokens} tokens given, the model reads at most {self._window}; "
                "split it, ask for SEGMENTATION_SEGMENTS, or for ON_TOO_LONG_TRUNCATE",
            )
            raise TooLong(fault, tokens)
        payload = self._tokenizer.model_input(ids[: self._window - self._tokenizer.special_tokens])
        part = Part(payload, len(payload))
        return Prepared([part], len(payload), tokens, truncated=tokens > len(payload))
