"""Small tokenizers of kinds that treat the border of a text differently."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from tests.models import write_text_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def word_pieces(folder: Path) -> Path:
    """BERT's, one token a letter and two special ones: reads words alone."""
    return write_text_model(folder).with_suffix(".json")


def byte_pairs(folder: Path) -> Path:
    """GPT-2's: a token a byte, white space too, so that a character may be four."""
    letters = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "ab", "Ġa", "<s>"]
    tokenizer = Tokenizer(
        models.BPE({letter: number for number, letter in enumerate(letters)}, _MERGES)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", len(letters) - 1)]
    )
    return _saved(tokenizer, folder / "byte_pairs.json")


def unigrams(folder: Path) -> Path:
    """SentencePiece's, not parted into words at all, and without special tokens."""
    scores = {"<unk>": -10.0, "▁": -3.0, "▁a": -2.0, "ab": -1.5, **dict.fromkeys("abc.。", -2.5)}
    tokenizer = Tokenizer(models.Unigram(list(scores.items()), unk_id=0))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    return _saved(tokenizer, folder / "unigrams.json")


KINDS: list[Callable[[Path], Path]] = [word_pieces, byte_pairs, unigrams]

_MERGES = [("a", "b"), ("Ġ", "a")]


def _saved(tokenizer: Tokenizer, path: Path) -> Path:
    tokenizer.save(str(path))
    return path
