"""Checks a request against the rules of the contract, and says in our words what to change.

Only a request's shape is checked here: counts, ids, enums, sizes. The faults of a content are the
business of those who read it.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import protovalidate

from searchmesh_common.errors import FieldViolation, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Sized

    from google.protobuf.message import Message

_MOST_VIOLATIONS = 50
"""Violations put into words for one request; no reply has room for more, the rest is counted."""

_MOST_VALUE_CHARACTERS = 40
"""Length at which a value that is repeated to the caller is cut."""


class Validator:
    """Checks messages of a `Contract`'s pool; messages of the stubs carry no rules and always pass.

    One instance serves a whole process: it keeps the compiled rules. Safe to use from any thread.
    """

    def __init__(self) -> None:
        self._rules = protovalidate.Validator()

    def validate(self, message: Message) -> None:
        """Raise InvalidRequest naming each field at fault and what to change.

        A streaming servicer calls this on each message, and answers in the stream what is at fault.
        """
        found = self._rules.collect_violations(message)
        if found:
            raise InvalidRequest(
                *(_field_violation(one) for one in found[:_MOST_VIOLATIONS]),
                omitted=max(0, len(found) - _MOST_VIOLATIONS),
            )


def _field_violation(violation: protovalidate.Violation) -> FieldViolation:
    proto = violation.proto
    rule_id = proto.rule_id
    describe = _SENTENCES.get(rule_id) or _SENTENCES.get(rule_id.partition(".")[2])
    # a rule written in CEL carries a sentence of its own; so do rules not in the table
    if proto.rule is None and rule_id == "required":
        description = "required: set one of its fields"  # a oneof, whose rule has no path
    elif describe is None or proto.rule is None or proto.rule.elements[-1].field_name == "cel":
        description = _plain(proto.message or f"breaks the rule {rule_id}")
    else:
        description = describe(violation.field_value, violation.rule_value, proto.message)
    if proto.for_key:
        description = f"key: {description}"
    return FieldViolation(_path(proto.field), description)


def _path(path: protovalidate.FieldPathPb | None) -> str:
    """For example `contents[3].text` or `attributes["colour"]`; empty for the whole message."""
    parts = []
    for element in path.elements if path else ():
        subscript = element.subscript
        if subscript is None:
            parts.append(element.field_name)
        else:
            parts.append(f"{element.field_name}[{json.dumps(subscript.value, ensure_ascii=False)}]")
    return ".".join(parts)


def _shown(value: Any) -> str:
    """A value as a caller would write it, cut where it is long."""
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, str):
        cut = (
            value if len(value) <= _MOST_VALUE_CHARACTERS else value[:_MOST_VALUE_CHARACTERS] + "…"
        )
        return json.dumps(cut, ensure_ascii=False)
    return str(value)


_RANGE = re.compile(r"must be greater than or equal to (\S+) and less than or equal to (\S+)")


def _plain(message: str) -> str:
    return _RANGE.sub(r"must be from \1 to \2", message).replace("item(s)", "items")


def _compared(value: Any, _limit: Any, message: str) -> str:
    if hasattr(value, "DESCRIPTOR"):  # a Duration or a Timestamp
        return _plain(message)
    return f"{_shown(value)} given, {_plain(message)}"


def _counted(unit: str, bound: str) -> Callable[[Sized, Any, str], str]:
    def describe(value: Sized, limit: Any, _message: str) -> str:
        given = len(value) if unit != "bytes" or not isinstance(value, str) else len(value.encode())
        return f"{given}{' ' + unit if unit else ''} given, {bound} {limit}"

    return describe


def _required(_value: Any, _limit: Any, _message: str) -> str:
    return "required"


def _not_empty(value: Sized, limit: Any, message: str) -> str:
    return (
        "must not be empty"
        if limit == 1
        else _counted("characters", "at least")(value, limit, message)
    )


def _defined_enum(value: Any, _limit: Any, _message: str) -> str:
    return f"{value} given, must be one of the values that the contract names"


def _not_finite(value: Any, _limit: Any, _message: str) -> str:
    return f"{value} given, must be a finite number"


def _pattern(value: str, pattern: Any, _message: str) -> str:
    given = f"{_shown(value)} given" if value else "required"
    return f"{given}, {PATTERNS.get(pattern, f'must match {pattern}')}"


PATTERNS = {
    r"^\P{Cc}*$": "must hold no control character",
    "^[a-z][a-z0-9_]{0,62}$": (
        "must be a lower-case letter, then at most 62 lower-case letters, digits and underscores"
    ),
    "^[a-z][a-z0-9_.-]{0,62}$": (
        "must be a lower-case letter, then at most 62 lower-case letters, digits and any of _ . -"
    ),
    "^[A-Za-z_][A-Za-z0-9_]{0,63}$": (
        "must be a letter or underscore, then at most 63 letters, digits and underscores"
    ),
    "^([A-Za-z_][A-Za-z0-9_]{0,63})?$": (
        "must be a letter or underscore, then at most 63 letters, digits and underscores"
    ),
    "^[A-Za-z0-9._:-]{0,128}$": "must be at most 128 letters, digits and any of . _ : -",
    "^operations/[A-Za-z0-9._:-]{1,128}$": (
        "must be the name of an operation, as an import answers it"
    ),
}
"""What a text must look like, in words, for each pattern of the contract."""


def _unique(_value: Any, _limit: Any, _message: str) -> str:
    return "holds a value twice, each may be given once"


# rule id, without the type in front where it holds for several types -> its sentence, made from the
# value given, the value of the rule and protovalidate's own message
_SENTENCES: dict[str, Callable[[Any, Any, str], str]] = {
    "required": _required,
    "min_len": _not_empty,
    "max_len": _counted("characters", "at most"),
    "len": _counted("characters", "must be"),
    "min_bytes": _counted("bytes", "at least"),
    "max_bytes": _counted("bytes", "at most"),
    "bytes.min_len": _counted("bytes", "at least"),
    "bytes.max_len": _counted("bytes", "at most"),
    "bytes.len": _counted("bytes", "must be"),
    "min_items": _counted("", "at least"),
    "max_items": _counted("", "at most"),
    "min_pairs": _counted("", "at least"),
    "max_pairs": _counted("", "at most"),
    "unique": _unique,
    "defined_only": _defined_enum,
    "enum.not_in": _required,
    "finite": _not_finite,
    "pattern": _pattern,
    "const": _compared,
    "in": _compared,
    "not_in": _compared,
    "gt": _compared,
    "gte": _compared,
    "lt": _compared,
    "lte": _compared,
    "gt_lt": _compared,
    "gt_lte": _compared,
    "gte_lt": _compared,
    "gte_lte": _compared,
}
