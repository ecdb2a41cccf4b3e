"""Every kind of rule becomes a sentence that says what to change."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from searchmesh_common.errors import InvalidRequest
from searchmesh_common.validation import PATTERNS, Validator

from .echo import message_class

if TYPE_CHECKING:
    from searchmesh_common.contract import Contract

PROTOS = Path(__file__).parents[2] / "protos"

GOOD: dict[str, Any] = {"name": "x", "age": {"seconds": 1}}


def violations(contract: Contract, name: str, /, **values: Any) -> list[str]:
    message = message_class(contract, name)(**values)
    try:
        Validator().validate(message)
    except InvalidRequest as error:
        return [str(one) for one in error.violations]
    return []


def test_a_good_message_passes(contract: Contract) -> None:
    assert violations(contract, "Rules", **GOOD) == []


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"id": "A1"}, 'id: "A1" given, must match ^[a-z]+$'),
        ({"id": "abcdefghi"}, "id: 9 bytes given, at most 8"),
        ({"limit": 0}, "limit: 0 given, must be from 1 to 1000"),
        ({"limit": 100000}, "limit: 100000 given, must be from 1 to 1000"),
        ({"colour": 7}, "colour: 7 given, must be one of the values that the contract names"),
        ({"name": None}, "kind: required: set one of its fields"),
        ({"data": b"1234"}, "data: 4 bytes given, at most 3"),
        ({"score": float("nan")}, "score: nan given, must be a finite number"),
        ({"wait": {"seconds": 6}}, "wait: must be less than or equal to 5s"),
        ({"tags": ["a", "a"]}, "tags: holds a value twice, each may be given once"),
        ({"tags": ["a", "äöü"]}, "tags[1]: 6 bytes given, at most 3"),
        ({"counts": {"a": 1, "b": 1, "c": 1}}, "counts: 3 given, at most 2"),
        ({"counts": {"a": -1}}, 'counts["a"]: -1 given, must be greater than 0'),
        ({"counts": {"": 1}}, 'counts[""]: key: must not be empty'),
        ({"start": 2, "end": 1}, "start must not be after end"),
        ({"age": None}, "age: required"),
    ],
)
def test_says_what_to_change(contract: Contract, values: dict[str, Any], sentence: str) -> None:
    assert violations(contract, "Rules", **{**GOOD, **values}) == [sentence]


def test_names_the_path_of_a_nested_field(contract: Contract) -> None:
    rules = {**GOOD, "start": 2, "end": 1, "tags": ["long"]}
    items = [{"name": "a"}, {}]
    assert sorted(violations(contract, "EchoRequest", text="a", rules=rules, items=items)) == [
        "items[1].name: must not be empty",
        "rules.tags[0]: 4 bytes given, at most 3",
        "rules: start must not be after end",
    ]


def test_counts_what_it_does_not_name(contract: Contract) -> None:
    request = message_class(contract, "EchoRequest")(text="a", items=[{} for _ in range(200)])
    with pytest.raises(InvalidRequest) as caught:
        Validator().validate(request)
    assert len(caught.value.violations) + caught.value.omitted == 200
    assert caught.value.message.endswith(f"and {caught.value.omitted} more")


def test_every_pattern_of_the_contract_has_a_sentence() -> None:
    protos = "".join(path.read_text() for path in PROTOS.rglob("*.proto"))
    written = {
        pattern.replace("\\\\", "\\")
        for pattern in re.findall(r'pattern(?: =|:) "([^"]+)"', protos)
    }
    assert written == PATTERNS.keys()
