"""The text form of filters.

    filter      = term { "AND" term } | term { "OR" term }
    term        = "NOT" term | "(" filter ")" | condition
    condition   = "EXISTS" name
                | name ( "=" | "!=" | "<" | "<=" | ">" | ">=" ) value
                | name "IN" "(" value { "," value } ")"
                | name "BETWEEN" value "AND" value
                | name "LIKE" string
    value       = string | number | "TRUE" | "FALSE"

Keywords are written in any case; an attribute that is called like one stands between backticks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from searchmesh_common.errors import InvalidRequest
from searchmesh_search.filters import strings
from searchmesh_search.filters.filter import (
    MAX_DEPTH,
    MAX_TERMS,
    AllOf,
    AnyOf,
    Between,
    Comparison,
    Exists,
    Inclusion,
    Not,
    Operator,
    Place,
    Prefix,
    terms,
    too_deep,
    too_long,
)
from searchmesh_search.filters.tokens import PATH, Kind, Token, fault, tokens

if TYPE_CHECKING:
    from searchmesh_search.filters.filter import Filter, Value

_OPERATORS = {one.value: one for one in Operator}
_CONSTANTS = {"TRUE": True, "FALSE": False}
_MOST_INTEGER_CHARACTERS = 20
"""Longer ones are past every integer that an attribute can be."""


def parse(text: str) -> Filter:
    """The filter that a text stands for. Raises InvalidRequest that says where it is at fault."""
    parsed = _Parser(text).whole()
    if terms(parsed) > MAX_TERMS:
        raise InvalidRequest.of(PATH, too_long())
    return parsed


class _Parser:
    """Reads from the left, one token ahead."""

    def __init__(self, text: str) -> None:
        self._tokens = tokens(text)
        self._next = next(self._tokens)
        self._depth = 0

    def whole(self) -> Filter:
        if self._is_at_end():
            raise InvalidRequest.of(PATH, "is blank; leave it out, or write a condition")
        parsed = self._filter()
        if not self._is_at_end():
            raise self._not("AND, OR or the end")
        return parsed

    def _filter(self) -> Filter:
        first = self._term()
        joint = self._next.word
        if joint not in {"AND", "OR"}:
            return first
        parts = [first]
        while self._next.word == joint:
            self._take()
            parts.append(self._term())
        if self._next.word in {"AND", "OR"}:
            raise fault(
                self._next.character,
                f"{self._next.word} follows {joint}; put parentheses around what belongs together",
            )
        return AllOf(tuple(parts)) if joint == "AND" else AnyOf(tuple(parts))

    def _term(self) -> Filter:
        if self._next.word == "NOT":
            self._descend(self._take())
            negated = Not(self._term())
            self._depth -= 1
            return negated
        if self._next.text == "(":
            self._descend(self._take())
            inner = self._filter()
            self._expect(")", "AND, OR or )")
            self._depth -= 1
            return inner
        return self._condition()

    def _descend(self, token: Token) -> None:
        self._depth += 1
        if self._depth >= MAX_DEPTH:
            raise InvalidRequest(too_deep(token.place))

    def _condition(self) -> Filter:
        if self._next.word == "EXISTS":
            place = self._take().place
            return Exists(self._name(), place)
        place = self._next.place
        name = self._name()
        if self._next.text in _OPERATORS:
            return Comparison(name, _OPERATORS[self._take().text], self._value(), place)
        match self._next.word:
            case "IN":
                self._take()
                return Inclusion(name, self._values(), place)
            case "BETWEEN":
                return self._between(name, place)
            case "LIKE":
                self._take()
                return Prefix(name, self._prefix(), place)
            case "NOT":
                raise fault(
                    self._next.character,
                    f"NOT stands behind {name}; write it before, as NOT {name} IN (…)",
                )
            case "IS":
                raise fault(
                    self._next.character,
                    f"no attribute is compared with null; write EXISTS {name} or NOT EXISTS {name}",
                )
        raise self._not("=, !=, <, <=, >, >=, IN, BETWEEN or LIKE")

    def _between(self, name: str, place: Place) -> Between:
        self._take()
        low = self._value()
        if self._next.word != "AND":
            raise self._not("AND and the greatest value of BETWEEN")
        self._take()
        return Between(name, low, self._value(), place)

    def _name(self) -> str:
        if self._next.kind not in {Kind.NAME, Kind.QUOTED_NAME}:
            raise self._not("the name of an attribute, NOT or (")
        return self._take().text

    def _values(self) -> tuple[Value, ...]:
        self._expect("(", "( and the values of IN")
        values = [self._value()]
        while self._next.text == ",":
            self._take()
            values.append(self._value())
        self._expect(")", ", or )")
        return tuple(values)

    def _value(self) -> Value:
        token = self._next
        if token.word in _CONSTANTS:
            self._take()
            return _CONSTANTS[token.word]
        match token.kind:
            case Kind.STRING:
                return strings.read(self._take())
            case Kind.NUMBER:
                return _number(self._take().text)
            case Kind.NAME if token.word == "NULL":
                raise fault(
                    token.character,
                    "no attribute is compared with null; write EXISTS or NOT EXISTS",
                )
            case Kind.NAME | Kind.QUOTED_NAME:
                raise fault(
                    token.character, f"{token} stands here for a value; strings go between quotes"
                )
        raise self._not("a string, a number, TRUE or FALSE")

    def _prefix(self) -> str:
        if self._next.kind is not Kind.STRING:
            raise self._not('a string, as "prefix%"')
        return strings.read_prefix(self._take())

    def _is_at_end(self) -> bool:
        return self._next.kind is Kind.END

    def _take(self) -> Token:
        taken = self._next
        self._next = next(self._tokens)
        return taken

    def _expect(self, symbol: str, expected: str) -> None:
        if self._next.text != symbol:
            raise self._not(expected)
        self._take()

    def _not(self, expected: str) -> InvalidRequest:
        return fault(self._next.character, f"{self._next} stands here, not {expected}")


def _number(text: str) -> int | float:
    """An integer where it is written as one. One that no double holds is infinite."""
    if text.lstrip("+-").isdigit() and len(text) <= _MOST_INTEGER_CHARACTERS:
        return int(text)
    return float(text)
