"""The example on a small part of its corpus; `make demo` runs the whole."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from searchmesh import Client, Document
from tests.examples.conftest import EXAMPLES
from tests.mesh import free_connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.mesh import Mesh

pytestmark = pytest.mark.slow

_PART = ("heapq.", "tempfile.", "bisect.", "difflib.", "csv.", "collections.Counter")


@pytest.fixture
def part(load: Callable[[str], Any]) -> list[Document]:
    """A few hundred documents in which the answers are."""
    documents: list[Document] = load("stdlib_corpus").documents()
    return [document for document in documents if document.id.startswith(_PART)]


@pytest.fixture
def run(
    load: Callable[[str], Any],
    mesh: Mesh,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Callable[[list[Document]], tuple[int, str]]]:
    """Runs the example on a corpus; the collection is gone afterwards."""
    example = load("python_docs")
    addresses = ["--encoder", mesh.connection.encoder, "--search", mesh.connection.search]
    monkeypatch.setattr(sys, "argv", ["python_docs.py", *addresses, "--home", str(tmp_path)])
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def run_(corpus: list[Document]) -> tuple[int, str]:
        monkeypatch.setattr("stdlib_corpus.documents", lambda: corpus)
        return example.main(), capsys.readouterr().out

    yield run_
    with Client(mesh.connection) as client:
        client.delete_collection(example.COLLECTION)


def test_answers_and_sends_only_what_is_missing(
    run: Callable[[list[Document]], tuple[int, str]], part: list[Document], mesh: Mesh
) -> None:
    half = len(part) // 2
    run(part[:half])
    code, shown = run(part)
    assert code == 0
    assert f"{len(part) - half:,} of {len(part):,} documents" in shown
    assert "heapq.merge" in shown
    assert f"{mesh.connection.search} searchmesh.search.v1.SearchService/Search" in shown
    code, shown = run(part)
    assert (code, "are in python_docs already" in shown) == (0, True)


def test_another_corpus_replaces_what_differs(
    run: Callable[[list[Document]], tuple[int, str]], part: list[Document], mesh: Mesh
) -> None:
    run(part)
    first, *rest = part[1:]
    changed = Document(first.id, f"{first.content} Changed.", attributes=first.attributes)
    code, shown = run([changed, *rest])
    assert code == 0
    assert f"1 of {len(part) - 1:,} documents" in shown
    with Client(mesh.connection) as client:
        assert client.count_documents("python_docs") == len(part) - 1
        assert client.get_document("python_docs", first.id).content == changed.content


def test_a_wrong_answer_fails(
    run: Callable[[list[Document]], tuple[int, str]], part: list[Document]
) -> None:
    code, shown = run([document for document in part if not document.id.startswith("heapq")])
    assert code == 1
    assert "not found where expected: 'merge two sorted lists' (heapq.merge)" in shown


_STAYING = """
import sys
import stdlib_corpus
whole = stdlib_corpus.documents()
part = [one for one in whole if one.id.startswith(("heapq.", "tempfile."))]
stdlib_corpus.documents = lambda: part
import python_docs
sys.exit(python_docs.main())
"""


def test_it_stays_until_ctrl_c_and_leaves_nothing_running(tmp_path: Path) -> None:
    connection = free_connection()
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", _STAYING, "--stay", "--home", str(tmp_path)),
            *("--encoder", connection.encoder, "--search", connection.search),
        ],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(EXAMPLES)},
    )
    with process:
        assert process.stdout
        shown = []
        while (line := process.stdout.readline()) and "Ctrl-C stops them" not in line:
            shown.append(line)
        assert process.poll() is None, "".join(shown)
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) > 1
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stdout.read() == "stopping\n"
    assert psutil.wait_procs(family, timeout=5)[1] == []
