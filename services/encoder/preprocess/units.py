"""A text as the stretches that passages are made of: its sentences, and parts of long ones."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import TYPE_CHECKING

from searchmesh_encoder.preprocess.sentences import sentence_starts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tokenizers import Encoding

    from searchmesh_encoder.preprocess.tokenizer import TextTokenizer

_SURELY_LONG = 16
"""Characters a token: a sentence that has more is tokenised at once in the way that tells where its
tokens are, as it will have to be anyway."""

_SHORT_SHARE = 8
"""Short sentences are one unit up to this part of the most tokens, in characters: tokenising each
alone would cost several times as much."""

_GROUP_CHARACTERS = 65_536
"""Characters that are tokenised in one go: bounds the memory that the library needs."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A stretch of a text that is not parted; it reaches to the start of the next."""

    start: int
    """Its first code point."""
    ids: Sequence[int]
    """Without special ones."""
    between_words: bool
    """Whether it starts between two words; False within one."""


def units(
    text: str, tokenizer: TextTokenizer, *, most_tokens: int, stretch_tokens: int
) -> Iterator[Unit]:
    """The units of a text, in order; together they hold all of it but white space at its start.

    most_tokens: a longer sentence is parted into stretches, of about `stretch_tokens` each.
    """
    starts = _merged([*sentence_starts(text), len(text)], most_tokens // _SHORT_SHARE)
    for group in _groups(starts):
        surely_long = [end - start > _SURELY_LONG * most_tokens for start, end in pairwise(group)]
        short = [
            text[start:end]
            for (start, end), is_long in zip(pairwise(group), surely_long, strict=True)
            if not is_long
        ]
        ids_of_short = iter(tokenizer.ids(short))
        for (start, end), is_long in zip(pairwise(group), surely_long, strict=True):
            ids = None if is_long else next(ids_of_short)
            if ids is None or len(ids) > most_tokens:
                yield from _stretches(
                    start, text[start:end], tokenizer, most_tokens, stretch_tokens
                )
            else:
                yield Unit(start, ids, between_words=True)


def _merged(starts: Sequence[int], most_characters: int) -> list[int]:
    """The starts, and last the end, without those that part short neighbours."""
    kept = list(starts[:1])
    for start, end in pairwise(starts):
        if end - kept[-1] > most_characters and start > kept[-1]:
            kept.append(start)
    return [*kept, starts[-1]]


def _groups(starts: Sequence[int]) -> Iterator[Sequence[int]]:
    """Neighbouring starts; each group begins with the last of the one before."""
    first = 0
    for last in range(1, len(starts)):
        if starts[last] - starts[first] >= _GROUP_CHARACTERS or last == len(starts) - 1:
            yield starts[first : last + 1]
            first = last


def _stretches(
    start: int, sentence: str, tokenizer: TextTokenizer, most_tokens: int, stretch_tokens: int
) -> Iterator[Unit]:
    """The units of a sentence that may be longer than the most tokens."""
    encoding = tokenizer.encoding(sentence)
    ids = encoding.ids
    if len(ids) <= most_tokens:
        yield Unit(start, ids, between_words=True)
        return
    first = 0
    while first < len(ids):
        wanted, most = first + stretch_tokens, first + most_tokens
        last = _border(sentence, encoding, first, wanted, most)
        place = _place(encoding, first)[0] if first else 0
        between_words = not first or _is_between_words(sentence, encoding, first)
        yield Unit(start + place, ids[first:last], between_words)
        first = last


def _border(sentence: str, encoding: Encoding, first: int, wanted: int, most: int) -> int:
    """The token to cut before: after white space or else between words, the last of (first, wanted]
    or the first after those; within a word only where it reaches over `most`.
    """
    if wanted >= len(encoding):
        return len(encoding)
    between_words = 0
    for at in range(wanted, first, -1):
        if _is_between_words(sentence, encoding, at):
            if sentence[_place(encoding, at)[0] - 1].isspace():
                return at
            between_words = between_words or at
    if between_words:
        return between_words
    for at in range(wanted + 1, min(most, len(encoding) - 1) + 1):
        if _is_between_words(sentence, encoding, at):
            return at
    if len(encoding) <= most:
        return len(encoding)
    # after those that fit come those of a single character that makes more tokens
    places = chain(range(wanted, first, -1), range(wanted + 1, len(encoding)))
    return next((at for at in places if _is_between_characters(encoding, at)), len(encoding))


def _is_between_words(sentence: str, encoding: Encoding, token: int) -> bool:
    words = encoding.token_to_word(token - 1), encoding.token_to_word(token)
    return (
        words[0] != words[1]
        and _is_between_characters(encoding, token)
        and _keeps_its_place(sentence[_place(encoding, token)[0]])
    )


def _is_between_characters(encoding: Encoding, token: int) -> bool:
    """Whether a token shares no character with the one before."""
    return _place(encoding, token)[0] >= _place(encoding, token - 1)[1]


def _keeps_its_place(character: str) -> bool:
    """Whether normalisation moves nothing over a character: where marks are put in another order,
    the library is mistaken about the places of their tokens.
    """
    return unicodedata.category(character)[0] in "LNPSZ" and not unicodedata.combining(character)


def _place(encoding: Encoding, token: int) -> tuple[int, int]:
    """The characters that a token was made of: the first, and one past the last."""
    place = encoding.token_to_chars(token)
    assert place is not None  # as it is for special tokens, of which there are none
    return place
