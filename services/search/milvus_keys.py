"""Row keys as Milvus stores them.

Milvus Lite puts keys between single quotes into SQL as they are, so the four characters that could
end a string never reach any engine.
"""

from __future__ import annotations

_ESCAPES = {"%": "%25", "'": "%27", '"': "%22", "\\": "%5C"}
_ESCAPE_TABLE = str.maketrans(_ESCAPES)


def quote_key(key: str) -> str:
    """A key as the engine stores it: without quotes, backslashes and bare percent signs."""
    return key.translate(_ESCAPE_TABLE)


def unquote_key(stored: str) -> str:
    """The key that `quote_key` made this of."""
    if "%" not in stored:
        return stored
    # the percent sign last: what it escapes must not be taken for another escape
    for plain, escape in reversed(_ESCAPES.items()):
        stored = stored.replace(escape, plain)
    return stored
