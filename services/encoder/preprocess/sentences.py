"""Where the sentences of a text begin, in most of the world's scripts, modestly.

For passages of a search, where a border in the wrong place costs little: the passages overlap.
Where it is hard to tell, there is no border. `docs/decisions/passages.md` says why it is ours.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# punctuation and line breaks that every tokenizer takes for borders of words
_STOPS = ".!?…‽؟۔।॥።፧။។"  # noqa: RUF001
_STOPS_WITHOUT_SPACE = "。！？｡"  # noqa: RUF001
_CLOSERS = r"\"'”’»›)\]}」』】）〉》〕"  # noqa: RUF001
_BREAKS = r"\n\r\u2028\u2029"

# A run of stops is looked at once and nothing is matched twice, so that a megabyte of dots is read
# in one pass.
_END = re.compile(
    rf"(?<![{_STOPS}])(?P<stop>[{_STOPS}]++)[{_CLOSERS}]*+\s++"
    rf"|[{_STOPS_WITHOUT_SPACE}]++[{_CLOSERS}]*+\s*+"
    rf"|(?P<line>[{_BREAKS}])\s*+"
)
_PARAGRAPH = re.compile(rf"(?:\r\n|[{_BREAKS}])[^\S{_BREAKS}]*+[{_BREAKS}]")

_LONGEST_ABBREVIATION = 12
_LAST_WORD = re.compile(r"[\w.]*\Z")
_ABBREVIATIONS = frozenset(
    (
        *("mr", "mrs", "ms", "dr", "prof", "st", "sr", "jr", "rev", "gen", "col", "capt", "lt"),
        *("vs", "etc", "cf", "al", "ca", "approx", "inc", "ltd", "co", "corp", "dept", "est"),
        *("fig", "figs", "eq", "eqs", "sec", "ch", "vol", "vols", "ed", "eds", "nos", "p", "pp"),
        *("jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec"),
        *("bzw", "usw", "nr", "abs", "bd", "hrsg", "mme", "mlle", "sra", "dra", "ud", "uds"),
    )
)


def sentence_starts(text: str) -> Iterator[int]:
    """The code points at which sentences begin, rising; the first is that of the text's first word.

    A sentence reaches to the start of the next. It begins with a character that is not white space
    and comes after white space or punctuation, so that no border lies within a word.
    """
    start = len(text) - len(text.lstrip())
    if start < len(text):
        yield start
    for end in _END.finditer(text, start):
        if end.end() < len(text) and _ends_a_sentence(end, text):
            yield end.end()


def _ends_a_sentence(end: re.Match[str], text: str) -> bool:
    stop, goes_on = end["stop"], text[end.end()].islower()
    if _PARAGRAPH.search(text, *end.span()):
        return True
    if end["line"]:
        return not goes_on  # else the line was only wrapped
    if stop is None or stop[-1] in "!?":
        return True
    return not goes_on and not (stop == "." and _is_short(end.start(), text))


def _is_short(stop: int, text: str) -> bool:
    """Whether the word before a full stop is an abbreviation, an initial or a number in a list."""
    found = _LAST_WORD.search(text, max(0, stop - _LONGEST_ABBREVIATION), stop)
    word = found[0] if found else ""
    if word.lower() in _ABBREVIATIONS:
        return True
    if word.isdecimal():
        return len(word) <= 2
    letters = word.split(".")
    return all(len(one) == 1 for one in letters) and (len(letters) > 1 or word.isupper())
