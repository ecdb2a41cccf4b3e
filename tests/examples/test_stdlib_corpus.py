"""The corpus of the example: complete, clean and always the same."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from searchmesh import Document
from tests.examples.conftest import EXAMPLES

_DIGEST = """
import hashlib, stdlib_corpus
digest = hashlib.sha256()
for document in stdlib_corpus.documents():
    digest.update(repr((document.id, document.content, document.attributes)).encode())
print(digest.hexdigest())
"""


@pytest.fixture(scope="module")
def corpus(load: Callable[[str], Any]) -> list[Document]:
    documents: list[Document] = load("stdlib_corpus").documents()
    return documents


def test_it_is_about_five_thousand_documents_of_every_kind(corpus: list[Document]) -> None:
    assert 4_000 <= len(corpus) <= 8_000
    kinds = Counter(document.attributes["kind"] for document in corpus)
    assert set(kinds) == {"module", "class", "function", "method", "property"}
    assert min(kinds.values()) >= 50


def test_ids_are_unique_ordered_and_fit_for_the_mesh(corpus: list[Document]) -> None:
    ids = [document.id for document in corpus]
    assert ids == sorted(set(ids))
    assert all(document_id.isprintable() and len(document_id) <= 256 for document_id in ids)


@pytest.mark.parametrize(
    ("document_id", "kind", "module", "signature"),
    [
        ("heapq.merge", "function", "heapq", "(*iterables, key=None, reverse=False)"),
        ("tempfile.TemporaryDirectory", "class", "tempfile", None),
        ("os.path.join", "function", "os.path", "(a, *p)"),
        ("asyncio.run", "function", "asyncio", None),
        ("pathlib.Path.mkdir", "method", "pathlib", None),
        ("json", "module", "json", ""),
    ],
)
def test_things_are_where_people_import_them_from(
    corpus: list[Document], document_id: str, kind: str, module: str, signature: str | None
) -> None:
    (found,) = (document for document in corpus if document.id == document_id)
    assert str(found.content).startswith(f"{document_id}: ")
    assert found.attributes["kind"] == kind
    assert found.attributes["module"] == module
    assert found.attributes["name"] == document_id.rpartition(".")[2]
    if signature is not None:
        assert found.attributes["signature"] == signature


@pytest.mark.parametrize("left_out", ["antigravity", "this", "idlelib", "test", "tkinter"])
def test_modules_that_do_things_are_left_out(corpus: list[Document], left_out: str) -> None:
    assert not [one.id for one in corpus if (one.id + ".").startswith(f"{left_out}.")]


def test_nothing_tells_of_this_machine_or_process(corpus: list[Document]) -> None:
    for document in corpus:
        shown = f"{document.content} {document.attributes}"
        assert " at 0x" not in shown, document.id
        assert sys.prefix not in shown, document.id


def test_another_process_makes_the_same_and_prints_nothing(tmp_path: Path) -> None:
    digests = set()
    for seed, folder in (("1", tmp_path), ("2", EXAMPLES)):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", _DIGEST],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(EXAMPLES)},
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        digests.add(done.stdout)
    (digest,) = digests
    assert len(digest) == len(hashlib.sha256().hexdigest()) + 1
