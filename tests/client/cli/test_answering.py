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


def test_search_in_groups_that_differ(on_mesh: Run, notes: str) -> None:
    search = ("search", notes, "Where can I buy milk?", "--json")
    grouped = on_mesh(*search, "--group-by", "kind").json["hits"]
    assert [hit["id"] for hit in grouped] == ["milk", "train"]
    pairs = on_mesh(*search, "--group-by", "kind", "--group-size", "2").json["hits"]
    assert [hit["id"] for hit in pairs] == ["milk", "bread", "train"]
    differing = on_mesh(*search, "--diversity", "0.1", "--limit", "2").json["hits"]
    assert [hit["id"] for hit in differing] == ["milk", "train"]


def test_recommend(on_mesh: Run, notes: str, tmp_path: Path) -> None:
    found = on_mesh("recommend", notes, "--like", "milk", "--dislike-text", "railways", "--json")
    assert [hit["id"] for hit in found.json["hits"]] == ["bread", "train"]
    seen = tmp_path / "seen"
    seen.write_text("bread\nmilk\n")
    some = ("recommend", notes, "--like-text", "food", "--strategy", "sum", "--seen", f"@{seen}")
    assert [hit["id"] for hit in on_mesh(*some, "--json").json["hits"]] == ["train"]
    assert "score" in on_mesh(*some).stdout


def test_classify(on_mesh: Run, notes: str) -> None:
    found = on_mesh("classify", notes, "kind", "a bottle of milk", "--neighbours", "2", "--json")
    assert found.json["votes"] == [{"value": "food", "share": 1.0, "count": 2}]
    assert [one["id"] for one in found.json["neighbours"]] == ["milk", "bread"]
    shown = on_mesh("classify", notes, "kind", "--id", "train").stdout
    assert "1.000" in shown
    assert "food" in shown


def test_answer(on_mesh: Run, notes: str) -> None:
    asked = ("answer", notes, "reply", "Where do I get milk?")
    found = on_mesh(*asked, "--json", "--alternatives", "1").json
    assert found["answer"]["answer"] == "At the shop."
    assert [one["id"] for one in found["alternatives"]] == ["bread"]
    assert "At the shop." in on_mesh(*asked).stdout
    none = on_mesh(*asked, "--threshold", "1")
    assert none.exit_code == 0
    assert "no answer" in none.stdout
    assert "At the shop." in none.stdout


def test_calibrate(on_mesh: Run, notes: str, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(
        '{"question": "Where do I get milk?", "id": "milk"}\n'
        '{"question": "Who has bread for sale?", "answer": "The baker."}\n\n'
        '{"question": "Who won the match?"}\n'
    )
    found = on_mesh("calibrate", notes, "reply", str(pairs), "--json").json
    assert (found["question_count"], found["answerable_count"]) == (3, 2)
    assert found["nearest_right_count"] == 2
    chosen = found["chosen"]
    assert (chosen["precision"], chosen["recall"], chosen["answered_count"]) == (1.0, 1.0, 2)
    threshold = ("--threshold", str(chosen["threshold"]), "--json")
    for question, answer in (("Where do I get milk?", "At the shop."), ("Who won?", None)):
        answered = on_mesh("answer", notes, "reply", question, *threshold).json["answer"]
        assert (answered and answered["answer"]) == answer
    as_csv = tmp_path / "pairs.csv"
    as_csv.write_text("question,id\nWhere do I get milk?,bread\nWho won?,\n")
    none = on_mesh("calibrate", notes, "reply", str(as_csv))
    assert none.exit_code == 1
    assert "no threshold is as precise as 90.0%" in none.stdout
    assert "threshold" in on_mesh("calibrate", notes, "reply", str(pairs)).stdout


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("", "no question with the id or the answer"),
        ('{"question": "a"}', "no question with the id or the answer"),
        ('{"id": "a"}', "line 1: no question"),
        ('{"question": "a", "answer": 3}', "line 1: the answer must be a string"),
        ("{", "Expecting property name"),
        ("[1]", "line 1: no question"),
    ],
)
def test_a_faulty_file_of_pairs(run: Run, tmp_path: Path, written: str, said: str) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(written)
    ran = run("calibrate", "c", "reply", str(pairs))
    assert ran.exit_code == 2
    # the message is folded to the terminal's width, in a frame
    assert said in " ".join(ran.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["recommend", "c"],
        ["recommend", "c", "--dislike", "a"],
        ["recommend", "c", "--like", "a", "--seen", "@nowhere"],
        ["recommend", "c", "--like", "a", "--strategy", "worst"],
        ["classify", "c", "kind"],
        ["classify", "c", "kind", "text", "--id", "a"],
        ["classify", "c", "kind", "--vector", "x"],
        ["answer", "c", "reply"],
        ["calibrate", "c", "reply", "nowhere.csv"],
    ],
)
def test_a_wrong_command_line_is_exit_code_2(run: Run, arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_an_error_names_the_field(on_mesh: Run, notes: str) -> None:
    ran = on_mesh("recommend", notes, "--like", "nobody", "--json")
    assert ran.exit_code == 1
    assert json.loads(ran.stdout)["error"]["message"].startswith("liked[0].document_id: ")
