"""The text form of filters: what is read, and what is said of the rest."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchmesh_common.errors import InvalidRequest
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
from searchmesh_search.filters.text import parse

if TYPE_CHECKING:
    from searchmesh_search.filters.filter import Filter, Value


def equal(field: str, value: Value) -> Comparison:
    return Comparison(field, Operator.EQUAL, value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 1", equal("a", 1)),
        ("a=1", equal("a", 1)),
        ("(((a = 1)))", equal("a", 1)),
        ("a != 'x'", Comparison("a", Operator.NOT_EQUAL, "x")),
        ("a >= -2.5e1", Comparison("a", Operator.GREATER_OR_EQUAL, -25.0)),
        ("a < +.5", Comparison("a", Operator.LESS, 0.5)),
        ("a > 9007199254740993", Comparison("a", Operator.GREATER, 9007199254740993)),
        ("a = true", equal("a", True)),
        ("a = False", equal("a", False)),
        ("a IN (1)", Inclusion("a", (1,))),
        ('a in ("x", \'y\', "z")', Inclusion("a", ("x", "y", "z"))),
        ("a between 1 and 2 and b = 3", AllOf((Between("a", 1, 2), equal("b", 3)))),
        ("a LIKE 'x%'", Prefix("a", "x")),
        (r"a LIKE '50\% of_%'".replace("of_", r"of\_"), Prefix("a", "50% of_")),
        (r"a LIKE '\\%'", Prefix("a", "\\")),
        (r"a LIKE '\u0025%'", Prefix("a", "%")),
        ("exists a", Exists("a")),
        ("NOT exists a", Not(Exists("a"))),
        ("NOT a = 1 AND b = 2", AllOf((Not(equal("a", 1)), equal("b", 2)))),
        ("NOT (a = 1 OR b = 2)", Not(AnyOf((equal("a", 1), equal("b", 2))))),
        (
            "a = 1 AND (b = 2 OR c = 3) AND d = 4",
            AllOf((equal("a", 1), AnyOf((equal("b", 2), equal("c", 3))), equal("d", 4))),
        ),
        ("in IN (1)", Inclusion("in", (1,))),
        ("`exists` = 1", equal("exists", 1)),
        ("`not` = 1", equal("not", 1)),
        ("like LIKE 'a%'", Prefix("like", "a")),
        ("a\n=\t1\r\n", equal("a", 1)),
    ],
)
def test_what_is_read(text: str, expected: Filter) -> None:
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ('""', ""),
        ("''", ""),
        ('"it\'s"', "it's"),
        ("'say \"no\"'", 'say "no"'),
        (r'"\"\\\/\b\f\n\r\t\u00e9"', '"\\/\b\f\n\r\té'),
        (r'"\ud83d\ude00"', "😀"),
        ('"😀 %_*"', "😀 %_*"),
        ('"two\nlines"', "two\nlines"),
        ('"AND OR NOT ("', "AND OR NOT ("),
    ],
)
def test_strings(written: str, value: str) -> None:
    assert parse(f"a = {written}") == equal("a", value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("  ", "is blank; leave it out, or write a condition"),
        ("a", "at character 2: the end stands here, not =, !=, <"),
        ("a = ", "at character 5: the end stands here, not a string, a number, TRUE or FALSE"),
        ("a = 1 b = 2", "at character 7: b stands here, not AND, OR or the end"),
        ("a = 1 AND", "at character 10: the end stands here, not the name of an attribute"),
        (
            "a = 1 AND b = 2 OR c = 3",
            "at character 17: OR follows AND; put parentheses around what belongs together",
        ),
        ("a = 1 OR b = 2 AND c = 3", "at character 16: AND follows OR; put parentheses"),
        ("(a = 1", r"at character 7: the end stands here, not AND, OR or \)"),
        ("a = 1)", r"at character 6: \) stands here, not AND, OR or the end"),
        ("a == 1", "at character 3: == stands here; write = for equality"),
        ("a <> 1", "at character 3: <> stands here; write != for what is not equal"),
        ("a = 1 && b = 2", "at character 7: && stands here; write AND"),
        ("a = b", "at character 5: b stands here for a value; strings go between quotes"),
        ("a = 1x", "at character 5: 1x is no number"),
        ("a = 1.2.3", "at character 5: 1.2.3 is no number"),
        ("a = --1", "at character 5: --1 is no number"),
        ('a = "x', "at character 5: .* no closing"),
        (r'a = "x\"', "at character 5: .* or a backslash takes it"),
        ("a = 'it's'", "at character 9: s stands here, not AND"),
        ("a = “x”", "at character 5: “ stands here; write straight quotes"),
        (r'a = "\x41"', r"at character 6: \\x is no escape"),
        (r'a = "\ud83d"', "at character 5: the string has half of a"),
        ("a IN ()", r"at character 7: \) stands here, not a string"),
        ("a IN [1]", r"at character 6: \[ stands here; write the values of IN in parentheses"),
        ("a NOT IN (1)", r"at character 3: NOT stands behind a; write it before, as NOT a IN"),
        ("a = NULL", "at character 5: no attribute is compared with null; write EXISTS"),
        ("a IS NULL", "at character 3: .* write EXISTS a or NOT EXISTS a"),
        ("a LIKE 1", "at character 8: 1 stands here, not a string"),
        ('a LIKE "x"', "at character 8: .* write = for the whole string"),
        ('a LIKE "x%y%"', "at character 8: LIKE takes the beginning of a string and then %"),
        ('a LIKE "x_%"', r"at character 8: .* write \\% and \\_ for the characters themselves"),
        ('a LIKE "%"', "at character 8: .* write EXISTS"),
        ("1 = a", "at character 1: 1 stands here, not the name of an attribute"),
        ("a.b = 1", "at character 2: .b is no number"),
        ("ä = 1", "at character 1: 'ä' stands here"),
        ("a = 1; drop", "at character 6: ';' stands here"),
        ("a = 1 -- no", "at character 7: -- is no number"),
    ],
)
def test_what_is_wrong_is_said_and_where(text: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        parse(text)
    assert [one.field for one in caught.value.violations] == ["filter"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(" * 60_000, "at character 32: nests deeper than 32 levels"),
        ("NOT " * 16_000 + "a = 1", "nests deeper than 32 levels"),
        ("a IN (" + "1," * 30_000 + "1)", "filter: has more than 10000 terms"),
    ],
)
def test_what_is_too_large_is_refused_at_once(text: str, message: str) -> None:
    began = time.monotonic()
    with pytest.raises(InvalidRequest, match=message):
        parse(text)
    assert time.monotonic() < began + 2


def test_ten_thousand_terms_are_read() -> None:
    parsed = parse("a in (" + ",".join(map(str, range(10_000))) + ")")
    assert parsed == Inclusion("a", tuple(range(10_000)))
    parsed = parse(" or ".join(["a=1"] * 8_000))
    assert parsed == AnyOf((equal("a", 1),) * 8_000)


@given(
    st.text(max_size=40)
    | st.lists(
        st.sampled_from(["a", "=", "(", ")", "NOT", "AND", "OR", "IN", ",", "1", '"x"', "'", "\\"])
    ).map(" ".join)
)
def test_anything_is_read_or_refused(text: str) -> None:
    try:
        parse(text)
    except InvalidRequest as error:
        (violation,) = error.violations
        assert violation.field == "filter"
