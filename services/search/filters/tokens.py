"""The text form of a filter, cut into tokens."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from searchmesh_common.errors import InvalidRequest
from searchmesh_search.filters.filter import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH = "filter"

_MOST_SHOWN_CHARACTERS = 40


class Kind(enum.Enum):
    """What a token is; symbols are known by their text."""

    NAME = "name"
    QUOTED_NAME = "quoted_name"
    NUMBER = "number"
    STRING = "string"
    SYMBOL = "symbol"
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """A token and where it begins."""

    kind: Kind
    text: str
    """As it was written, quotes and escapes included."""
    character: int
    """Counted from 1, in code points."""

    @property
    def place(self) -> Place:
        return Place(PATH, self.character)

    @property
    def word(self) -> str:
        """In capitals, where it may be a keyword."""
        return self.text.upper() if self.kind is Kind.NAME else ""

    def __str__(self) -> str:
        return "the end" if self.kind is Kind.END else shown(self.text)


def shown(text: str) -> str:
    """A piece of a filter in a message, cut where it is long."""
    return text if len(text) <= _MOST_SHOWN_CHARACTERS else text[:_MOST_SHOWN_CHARACTERS] + "…"


def fault(character: int, description: str) -> InvalidRequest:
    """What is wrong with the text at a place."""
    return InvalidRequest(Place(PATH, character).fault("", description))


_TOKEN = re.compile(
    r"""\s*(?:
        (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | `(?P<quoted_name>[A-Za-z_][A-Za-z0-9_]*)`
      | (?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?![A-Za-z0-9_.])
      | (?P<string>"[^"\\]*(?:\\.[^"\\]*)*"|'[^'\\]*(?:\\.[^'\\]*)*')
      | (?P<symbol><=|>=|!=|=(?!=)|<(?!>)|>|\(|\)|,)
    )""",
    re.VERBOSE | re.DOTALL,
)
_SPACE = re.compile(r"\s*")

_HINTS = {
    "==": "write = for equality",
    "<>": "write != for what is not equal",
    "&&": "write AND",
    "||": "write OR",
    "!": "write NOT",
    "[": "write the values of IN in parentheses",
    "`": "backticks enclose the name of an attribute, as `in`",
    "“": 'write straight quotes, "…"',
    "\u2018": "write straight quotes, '…'",
    '"': 'the string that begins here has no closing ", or a backslash takes it',
    "'": "the string that begins here has no closing ', or a backslash takes it",
}
_SIGNS = frozenset("+-.")


def tokens(text: str) -> Iterator[Token]:
    """The tokens in order, an END last. Raises InvalidRequest at what is none."""
    end = 0
    while match := _TOKEN.match(text, end):
        kind = match.lastgroup
        assert kind is not None
        yield Token(Kind(kind), match[kind], match.start(kind) + 1)
        end = match.end()
    space = _SPACE.match(text, end)
    assert space is not None
    if space.end() < len(text):
        raise fault(space.end() + 1, _what_is_wrong(text, space.end()))
    yield Token(Kind.END, "", len(text) + 1)


def _what_is_wrong(text: str, at: int) -> str:
    first = text[at]
    for begun, hint in _HINTS.items():
        if text.startswith(begun, at):
            return f"{begun} stands here; {hint}"
    if first.isascii() and (first.isdigit() or first in _SIGNS):
        written = re.match(r"[\w.+-]*", text[at:])
        assert written is not None
        return f"{shown(written[0])} is no number"
    return f"{first!r} stands here; strings go between quotes, attributes have ASCII names"
