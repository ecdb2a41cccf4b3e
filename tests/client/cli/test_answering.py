"""Commands that ask in more ways than one search."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from searchmesh import Client, Document, Field, FieldType
from tests.client.cli.conftest import Ran
from tests.mesh import MODEL

if TYPE_CHECKING:
    from pathlib import Path

    from tests.mesh import Mesh

Run = Callable[..., Ran]

NOTES = [
    Document("milk", "Where can I buy milk?", attributes={"kind": "food", "reply": "At the shop."}),
    Document("bread", "Who sells bread?", attributes={"kind": "food", "reply": "The baker."}),
    Document(
        "train", "When does the train leave?", attributes={"kind": "travel", "reply": "Noon."}
    ),
]


@pytest.fixture(scope="module")
def notes(mesh: Mesh) -> Iterator[str]:
    with Client(mesh.connection) as client:
        declared = [Field("kind", FieldType.STRING)]
        name = client.create_collection("cli_answering", model=MODEL, fields=declared).name
        client.upsert(name, NOTES)
        yield name
        client.delete_collection(name)


def test_recommend(on_mesh: Run, notes: str, tmp_path: Path) -> None:
    found = on_mesh("recommend", notes, "--like", "milk", "--dislike-text", "railways", "--json")
    assert [hit["id"] for hit in found.json["hits"]] == ["bread", "train"]
    seen = tmp_path / "seen"
    seen.write_text("bread\nmilk\n")
    some = ("recommend", notes, "--like-text", "food", "--strategy", "sum", "--seen", f"@{seen}")
    assert [hit["id"] for hit in on_mesh(*some, "--json").json["hits"]] == ["train"]
    assert "score" in on_mesh(*some).stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["recommend", "c"],
        ["recommend", "c", "--dislike", "a"],
        ["recommend", "c", "--like", "a", "--seen", "@nowhere"],
        ["recommend", "c", "--like", "a", "--strategy", "worst"],
    ],
)
def test_a_wrong_command_line_is_exit_code_2(run: Run, arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_an_error_names_the_field(on_mesh: Run, notes: str) -> None:
    ran = on_mesh("recommend", notes, "--like", "nobody", "--json")
    assert ran.exit_code == 1
    assert json.loads(ran.stdout)["error"]["message"].startswith("liked[0].document_id: ")
