"""Filters as Milvus's expressions: the one place where callers' values come near an engine.

What engines taught (docs/decisions/filters.md): the embedded one drops what NOT and NOT IN are
about, so negations are carried to the conditions; LIKE knows no way to say a percent sign, so
prefixes are ranges; and a chain of ANDs is as deep as it is long, so it becomes a tree.
"""

from __future__ import annotations

import heapq
import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from searchmesh_common.errors import FailedPrecondition
from searchmesh_search.engine import FieldType
from searchmesh_search.filters.evaluation import holds
from searchmesh_search.filters.filter import (
    AllOf,
    AnyOf,
    Between,
    Comparison,
    Exists,
    Inclusion,
    Not,
    Operator,
    Prefix,
)
from searchmesh_search.milvus_columns import COLUMNS, presence_column, value_column

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from searchmesh_search.engine import DeclaredField
    from searchmesh_search.filters.filter import Condition, Filter, Value

_OPERATORS = {
    Operator.EQUAL: "==",
    Operator.NOT_EQUAL: "!=",
    Operator.LESS: "<",
    Operator.LESS_OR_EQUAL: "<=",
    Operator.GREATER: ">",
    Operator.GREATER_OR_EQUAL: ">=",
}
_OPPOSITES = {
    "==": "!=",
    "!=": "==",
    "<": ">=",
    ">=": "<",
    ">": "<=",
    "<=": ">",
}

_FIRST_SURROGATE, _LAST_SURROGATE, _LAST_CODE_POINT = 0xD800, 0xDFFF, 0x10FFFF


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one kind of Milvus wants its expressions."""

    quote: Callable[[str], str]
    """A string as a literal that stands for exactly that string. Raises FailedPrecondition, reason
    ENGINE_LACKS, for one that cannot be said."""
    has_not_in: bool


@dataclass(frozen=True, slots=True)
class Expression:
    """Text that an engine parses."""

    text: str
    depth: int = 1
    """Expressions within each other: the engines walk them with recursion."""


def compiled(filter_: Filter, fields: Sequence[DeclaredField], dialect: Dialect) -> Expression:
    """What the engine is asked. filter_: as `check.checked` gives it for these fields.

    Raises FailedPrecondition, reason ENGINE_LACKS, for what the dialect cannot say.
    """
    return _Compiler({one.name: one for one in fields}, dialect).filter(filter_, negated=False)


def every(expressions: Sequence[Expression]) -> Expression:
    """What is true where all are, at least one."""
    return _joined("and", expressions)


class _Compiler:
    def __init__(self, fields: Mapping[str, DeclaredField], dialect: Dialect) -> None:
        self._fields = fields
        self._dialect = dialect

    def filter(self, filter_: Filter, *, negated: bool) -> Expression:
        match filter_:
            case AllOf() | AnyOf():
                joint = "and" if isinstance(filter_, AllOf) is not negated else "or"
                return _joined(
                    joint, [self.filter(one, negated=negated) for one in filter_.filters]
                )
            case Not():
                return self.filter(filter_.filter, negated=not negated)
            case _:
                return self._condition(filter_, negated)

    def _condition(self, condition: Condition, negated: bool) -> Expression:
        """A row without a value holds its type's empty one: where that would be taken for a value,
        the column beside it is asked, too.
        """
        declared = self._fields[condition.field]
        if isinstance(condition, Exists):
            return _has(declared, is_there=not negated)
        about_value = self._about_value(condition, declared, negated)
        if not holds(condition, COLUMNS[declared.type].empty):
            return about_value
        joint = "or" if negated else "and"
        return _joined(joint, [_has(declared, is_there=not negated), about_value])

    def _about_value(
        self, condition: Condition, declared: DeclaredField, negated: bool
    ) -> Expression:
        compare = _Compare(value_column(declared), self._dialect, negated)
        match condition:
            case Comparison():
                return compare.with_value(_OPERATORS[condition.operator], condition.value)
            case Inclusion():
                # an expression has no lists of booleans
                if declared.type is FieldType.BOOL or (negated and not self._dialect.has_not_in):
                    return compare.with_each(dict.fromkeys(condition.values))
                return compare.with_any(condition.values)
            case Between():
                return compare.within(condition.low, "<=", condition.high)
            case Prefix():
                return compare.within(condition.prefix, "<", _after_all_with(condition.prefix))
        raise AssertionError


@dataclass(frozen=True, slots=True)
class _Compare:
    """Comparisons of one column."""

    column: str
    dialect: Dialect
    negated: bool

    def with_value(self, operator: str, value: Value) -> Expression:
        written = _OPPOSITES[operator] if self.negated else operator
        return Expression(f"{self.column} {written} {self._literal(value)}")

    def with_each(self, values: Iterable[Value]) -> Expression:
        each = [self.with_value("==", one) for one in values]
        return _joined("and" if self.negated else "or", each)

    def with_any(self, values: Iterable[Value]) -> Expression:
        written = "not in" if self.negated else "in"
        literals = ", ".join(self._literal(one) for one in values)
        return Expression(f"{self.column} {written} [{literals}]")

    def within(self, low: Value, operator: str, high: Value | None) -> Expression:
        """high: None where there is no such bound."""
        bounds = [self.with_value(">=", low)]
        if high is not None:
            bounds.append(self.with_value(operator, high))
        return _joined("or" if self.negated else "and", bounds)

    def _literal(self, value: Value) -> str:
        match value:
            case bool():
                return "true" if value else "false"
            case str():
                return self.dialect.quote(value)
            case _:
                return repr(value)


def _has(declared: DeclaredField, *, is_there: bool) -> Expression:
    return Expression(f"{presence_column(declared)} == {'true' if is_there else 'false'}")


def _joined(joint: str, parts: Sequence[Expression]) -> Expression:
    """As flat a tree as there is: the two lowest are joined until there is one."""
    numbers = itertools.count()
    heap = [(one.depth, next(numbers), one.text) for one in parts]
    heapq.heapify(heap)
    while len(heap) > 1:
        (_, _, one), (depth, _, other) = heapq.heappop(heap), heapq.heappop(heap)
        heapq.heappush(heap, (depth + 1, next(numbers), f"({one} {joint} {other})"))
    depth, _, text = heap[0]
    return Expression(text, depth)


def _after_all_with(prefix: str) -> str | None:
    """The least string that is greater than all with the prefix; None where there is none."""
    for end in range(len(prefix), 0, -1):
        last = ord(prefix[end - 1])
        if last < _LAST_CODE_POINT:
            following = _LAST_SURROGATE + 1 if last + 1 == _FIRST_SURROGATE else last + 1
            return prefix[: end - 1] + chr(following)
    return None


def _quote_for_server(value: str) -> str:
    """Its literals are those of Go, which has all of JSON's escapes but those of surrogates: what
    JSON leaves as it is, it leaves as it is, too."""
    return json.dumps(value, ensure_ascii=False)


def _quote_for_lite(value: str) -> str:
    """A backslash takes the next character as it is, and an end of line stands behind one."""
    lone = value.replace("\r\n", "")
    if "\r" in lone or "\0" in lone:
        raise FailedPrecondition(
            "ENGINE_LACKS",
            "the embedded engine cannot be asked for a string with a zero character, or with a "
            "carriage return that no line feed follows; leave it out of the filter",
            {"engine": "milvus-lite"},
        )
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    lines = escaped.replace("\r\n", "\0").replace("\n", "\\\n").replace("\0", "\\\r\n")
    return f'"{lines}"'


LITE = Dialect(quote=_quote_for_lite, has_not_in=False)
SERVER = Dialect(quote=_quote_for_server, has_not_in=True)
