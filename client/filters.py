"""Values for filters, written so that they stay values."""

from __future__ import annotations

import json
import math

from searchmesh.errors import InvalidRequest

_MOST_INTEGER = 2**53


def filter_value(value: str | float | bool) -> str:
    """A value as a filter's text has it: put into a filter, it can only be compared with.

    f"author = {filter_value(name)}", whatever the name holds. Raises InvalidRequest for what no
    attribute can be.
    """
    match value:
        case bool():
            return "TRUE" if value else "FALSE"
        case int() if abs(value) <= _MOST_INTEGER:
            return repr(value)
        case float() if math.isfinite(value):
            return repr(value)
        case str():
            return _quoted(value)
    raise InvalidRequest.of("filter", f"{value!r} is no value: give a str, bool or finite number")


def _quoted(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest.of("filter", "holds half a character (a lone surrogate)") from error
    return json.dumps(value, ensure_ascii=False)
