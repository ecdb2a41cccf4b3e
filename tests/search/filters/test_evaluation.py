"""What filters mean."""

from __future__ import annotations

from typing import Any

import pytest

from searchmesh_search.engine import DeclaredField, FieldType
from searchmesh_search.filters.check import checked
from searchmesh_search.filters.evaluation import matches
from searchmesh_search.filters.text import parse

FIELDS = (DeclaredField("n", FieldType.INT64), DeclaredField("s", FieldType.STRING))


@pytest.mark.parametrize(
    ("text", "true_for"),
    [
        ("n = 0", ["zero"]),
        ("n != 0", ["one"]),
        ("n < 1", ["zero"]),
        ("n <= 1", ["zero", "one"]),
        ("n > 0", ["one"]),
        ("n >= 0", ["zero", "one"]),
        ("n in (1, 2)", ["one"]),
        ("n between 0 and 1", ["zero", "one"]),
        ("n between 1 and 0", []),
        ("exists n", ["zero", "one"]),
        ("not exists n", ["null", "nothing"]),
        ("not n = 0", ["one", "null", "nothing"]),
        ("not n != 0", ["zero", "null", "nothing"]),
        ("not not n = 0", ["zero"]),
        ("n = 0 or n = 1", ["zero", "one"]),
        ("n >= 0 and n < 1", ["zero"]),
        ("s like 'ab%'", ["one"]),
        ("s > 'a'", ["one"]),
        ("s = ''", ["zero"]),
    ],
)
def test_what_it_is_true_for(text: str, true_for: list[str]) -> None:
    documents: dict[str, dict[str, Any]] = {
        "zero": {"n": 0, "s": ""},
        "one": {"n": 1, "s": "abc"},
        "null": {"n": None, "s": None},
        "nothing": {},
    }
    filter_ = checked(parse(text), FIELDS)
    assert [name for name, one in documents.items() if matches(filter_, one)] == true_for


def test_strings_compare_by_code_point() -> None:
    # in UTF-16 it is the other way round
    assert matches(parse("s < '😀'"), {"s": "\uffff"})
