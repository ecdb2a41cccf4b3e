"""A text in passages, each within the model's window, cut by the model's own tokens.

A passage is as many of the text's units as fit, and the next one repeats the last of them. The
units are tokenised, once. A passage has the ids of its units wherever those must be the ids of its
text; elsewhere it is tokenised once more. `docs/decisions/passages.md` has the reasons.
"""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING

from searchmesh_common.errors import FailedPrecondition, InvalidRequest
from searchmesh_encoder.prepared import Part, Prepared, TextSpan
from searchmesh_encoder.preprocess.units import Unit, units

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from searchmesh_encoder.preprocess.tokenizer import TextTokenizer

MOST_PASSAGES = 10_000
"""Passages of one text: bounds the memory and the work that one content can ask for."""

_OVERLAP_SHARE = 0.2
"""Of the window, at most, for what a passage repeats of the one before."""


class PassageCutter:
    """Cuts texts for one model and one prefix; safe to use from several threads."""

    def __init__(self, tokenizer: TextTokenizer, prefix: str, window: int) -> None:
        """prefix: put before every passage. window: most tokens, prefix and special ones included.

        Raises FailedPrecondition (BAD_WINDOW) where the prefix leaves no room for a text.
        """
        self._tokenizer = tokenizer
        self._prefix = prefix
        self._window = window
        (self._prefix_ids,) = tokenizer.ids([prefix])
        self._most_ids = window - tokenizer.special_tokens
        self._room = self._most_ids - len(self._prefix_ids)
        if self._room < 1:
            raise FailedPrecondition(
                "BAD_WINDOW", f"a window of {window} tokens leaves no room after {prefix!r}"
            )
        self._overlap = int(_OVERLAP_SHARE * self._room)
        prefix_ends_a_word = not prefix or prefix[-1] in " \t\n"
        self._joins_ids = tokenizer.reads_words_alone and prefix_ends_a_word

    def cut(self, text: str) -> Prepared[np.ndarray]:
        """A text's passages, in order; blocks, with the GIL released for most of the time.

        text: holds a character that is not white space. Each of those is in a passage.
        Raises InvalidRequest where the model reads no character, or there are too many passages.
        """
        read, original_tokens = self._read(text)
        parts = list(islice(self._passages(text, read), MOST_PASSAGES + 1))
        if len(parts) > MOST_PASSAGES:
            raise InvalidRequest.of(
                "text",
                f"makes more than {MOST_PASSAGES:,} passages of {self._window} tokens; split it",
            )
        tokens = sum(part.length for part in parts)
        return Prepared(parts, tokens, original_tokens, truncated=False)

    def _read(self, text: str) -> tuple[list[Unit], int]:
        """The text's units, and the tokens of the whole text, prefix and special ones included."""
        around = self._window - self._room
        if self._joins_ids:
            read = self._units(text)
            own_tokens = sum(len(unit.ids) for unit in read)
            if own_tokens == 0:
                raise unreadable()
            return read, around + own_tokens
        (ids,) = self._tokenizer.ids([self._prefix + text])
        if ids == self._prefix_ids:
            raise unreadable()
        fits = len(ids) <= self._most_ids
        read = [Unit(0, ids, between_words=True)] if fits else self._units(text)
        return read, self._tokenizer.special_tokens + len(ids)

    def _units(self, text: str) -> list[Unit]:
        stretch_tokens = max(1, self._overlap)
        return list(
            units(text, self._tokenizer, most_tokens=self._room, stretch_tokens=stretch_tokens)
        )

    def _passages(self, text: str, read: list[Unit]) -> Iterator[Part[np.ndarray]]:
        first = covered = 0
        while first < len(read):
            span, ids, last = self._fitted(text, read, first, self._filled(read, first))
            if span.text and span.end > covered:  # else it adds but white space
                covered = span.end
                payload = self._tokenizer.model_input(ids)
                yield Part(payload, len(payload), span)
            first = self._repeated(read, last, span.start)

    def _filled(self, read: Sequence[Unit], first: int) -> int:
        """One past the last unit that a passage has room for; it has one at least."""
        last = first + 1
        tokens = len(read[first].ids)
        while last < len(read) and tokens + len(read[last].ids) <= self._room:
            tokens += len(read[last].ids)
            last += 1
        return last

    def _repeated(self, read: Sequence[Unit], last: int, begun: int) -> int:
        """Where the next passage starts: at the earliest unit after `begun` that it may repeat."""
        if last == len(read):
            return last
        tokens = min(self._overlap, self._room - len(read[last].ids))
        start = last
        while read[start - 1].start > begun and len(read[start - 1].ids) <= tokens:
            start -= 1
            tokens -= len(read[start].ids)
        return start

    def _fitted(
        self, text: str, read: list[Unit], first: int, last: int
    ) -> tuple[TextSpan, list[int], int]:
        """The passage of as many of these units as the window holds, its ids and where it ends.

        Its own text may make more tokens than its units did.
        """
        while True:
            end = read[last].start if last < len(read) else len(text)
            span = _span(text, read[first].start, end)
            ids = self._ids(span.text, read, first, last)
            if len(ids) <= self._most_ids:
                return span, ids, last
            if last - first > 1:
                last -= 1
            elif end - read[first].start > 1:
                _halve(read, first, end)
            else:  # one character that makes more tokens than the window holds
                return span, ids[: self._most_ids], last

    def _ids(self, passage: str, read: Sequence[Unit], first: int, last: int) -> list[int]:
        """The ids of a passage, with the prefix's."""
        ends_between_words = last == len(read) or read[last].between_words
        if self._joins_ids and read[first].between_words and ends_between_words:
            return [*self._prefix_ids, *chain.from_iterable(unit.ids for unit in read[first:last])]
        (ids,) = self._tokenizer.ids([self._prefix + passage])
        return ids


def unreadable() -> InvalidRequest:
    """A text of nothing but characters that the model passes over."""
    return InvalidRequest.of("text", "holds no character that the model reads")


def _span(text: str, start: int, end: int) -> TextSpan:
    """A stretch of the text without the white space around it."""
    passage = text[start:end]
    start += len(passage) - len(passage.lstrip())
    passage = passage.strip()
    return TextSpan(start, start + len(passage), passage)


def _halve(read: list[Unit], index: int, end: int) -> None:
    """Part a unit, which ends at `end`, in its middle."""
    unit = read[index]
    middle, tokens = (unit.start + end) // 2, len(unit.ids) // 2
    read[index : index + 1] = [
        Unit(unit.start, unit.ids[:tokens], unit.between_words),
        Unit(middle, unit.ids[tokens:], between_words=False),
    ]
