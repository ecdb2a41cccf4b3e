"""Texts to token ids, and the ids of a batch to tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Tokenizer

from searchmesh_common.errors import FailedPrecondition, InvalidRequest
from searchmesh_encoder.prepared import OnTooLong, Part, Prepared

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tokenizers import Encoding

    from searchmesh_encoder.prepared import InputRole, PrepareOptions

PREPROCESSING_VERSION = 1
"""Raised with every change that may change a token; part of every fingerprint."""

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

        Raises FailedPrecondition (BAD_TOKENIZER) where the file is not a tokenizer.
        """
        try:
            self._tokenizer = Tokenizer.from_file(str(tokenizer))
        except Exception as error:  # the library raises nothing narrower
            raise FailedPrecondition(
                "BAD_TOKENIZER", f"{tokenizer} is not a tokenizer: {error}"
            ) from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._special_tokens: int = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        self._window = window
        self._prefixes = prefixes
        self._max_characters = max_characters

    def prepare(self, text: str, options: PrepareOptions) -> Prepared[np.ndarray]:
        """Tokenise a text; blocks, with the GIL released: about a millisecond for 1,000 characters.

        A part's payload is its token ids, (tokens,) int64, special tokens included.
        Raises InvalidRequest, with fields relative to the content, where the text is empty or
        longer than it may be.
        """
        if not text.strip():
            raise InvalidRequest.of("text", "must hold a character that is not white space")
        if len(text) > self._max_characters:
            raise InvalidRequest.of(
                "text", f"{len(text)} characters given, at most {self._max_characters}; split it"
            )
        encoding = self._encode(self._prefixes[options.role] + text)
        original_tokens = len(encoding) + self._special_tokens
        if len(encoding) == 0:
            raise InvalidRequest.of("text", "holds no character that the model reads")
        if original_tokens > self._window:
            if options.on_too_long is OnTooLong.REJECT:
                raise InvalidRequest.of(
                    "text",
                    f"{original_tokens} tokens given, the model reads at most {self._window}; "
                    "split it, or ask for ON_TOO_LONG_TRUNCATE",
                )
            encoding.truncate(self._window - self._special_tokens)
        ids = np.array(self._tokenizer.post_process(encoding).ids, np.int64)
        part = Part(payload=ids, length=len(ids))
        return Prepared([part], len(ids), original_tokens, truncated=original_tokens > len(ids))

    def collate(self, texts: Sequence[np.ndarray]) -> Mapping[str, np.ndarray]:
        """The tensors of a batch. texts: the token ids of each.

        Returns `input_ids` and `attention_mask`, (texts, sequence) int64: sequence is the longest
        text's length rounded up, padding is 0.
        """
        longest = max(map(len, texts))
        sequence = -(-longest // _SEQUENCE_MULTIPLE) * _SEQUENCE_MULTIPLE
        ids = np.zeros((len(texts), sequence), np.int64)
        mask = np.zeros((len(texts), sequence), np.int64)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
        return {"input_ids": ids, "attention_mask": mask}

    def _encode(self, text: str) -> Encoding:
        # the batch form because the single one holds the GIL, for a second for a million characters
        encodings: list[Encoding] = self._tokenizer.encode_batch_fast(
            [text], add_special_tokens=False
        )
        return encodings[0]
