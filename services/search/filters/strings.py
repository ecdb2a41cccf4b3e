"""Strings of the text form: between quotes, with JSON's escapes."""

from __future__ import annotations

import json
import re

from searchmesh_search.filters.tokens import Token, fault

_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_PLAIN = {
    '"': '"',
    "'": "'",
    "\\": "\\",
    "/": "/",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
}
_PATTERN = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)|([%_])", re.DOTALL)


def read(token: Token) -> str:
    """What a STRING stands for. Raises InvalidRequest for an escape that is none."""

    def unescape(match: re.Match[str]) -> str:
        return _unescaped(match[1], token.character + 1 + match.start())

    return _joined(_ESCAPE.sub(unescape, token.text[1:-1]), token)


def read_prefix(token: Token) -> str:
    r"""The prefix in a STRING that is a pattern of LIKE: one bare % at its end, and no other and no
    bare _, which are written \% and \_ where they are meant.
    """
    written = token.text[1:-1]
    prefix, wildcards = "", []
    start = 0
    for match in _PATTERN.finditer(written):
        prefix += written[start : match.start()]
        start = match.end()
        if match[2]:
            wildcards.append(match)
        elif match[1] in "%_":
            prefix += match[1]
        else:
            prefix += _unescaped(match[1], token.character + 1 + match.start())
    prefix += written[start:]
    if [one.start() for one in wildcards] != [len(written) - 1] or wildcards[0][2] != "%":
        raise fault(token.character, _wildcards_at_fault(wildcards))
    if not prefix:
        raise fault(token.character, "LIKE has an empty prefix; write EXISTS and the attribute")
    return _joined(prefix, token)


def write(value: str) -> str:
    """The inverse of `read`."""
    return json.dumps(value, ensure_ascii=False)


def _wildcards_at_fault(wildcards: list[re.Match[str]]) -> str:
    if not wildcards:
        return "LIKE takes the beginning of a string and then %; write = for the whole string"
    return (
        "LIKE takes the beginning of a string and then %, no other pattern; "
        r"write \% and \_ for the characters themselves"
    )


def _unescaped(escape: str, character: int) -> str:
    if escape in _PLAIN:
        return _PLAIN[escape]
    if len(escape) > 1:
        return chr(int(escape[1:], 16))
    raise fault(
        character,
        rf"\{escape} is no escape; they are \" \' \\ \/ \b \f \n \r \t and \u with 4 digits",
    )


def _joined(text: str, token: Token) -> str:
    """With pairs of surrogates, as JSON writes what is past U+FFFF, made one character."""
    try:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        raise fault(
            token.character, r"the string has half of a \ud800 to \udfff pair; write both"
        ) from None
