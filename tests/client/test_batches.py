"""Documents cut into calls."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from searchmesh import Document, batches
from searchmesh.errors import InvalidRequest
from searchmesh.results import UpsertBatch, UpsertResult

_documents = st.lists(
    st.builds(
        Document,
        st.sampled_from(["a", "b", "", "tab\t", "x" * 257]),
        st.text("m", max_size=300),
    ),
    max_size=30,
)


@given(_documents, st.integers(1, 10))
def test_nothing_is_lost_reordered_or_too_much_for_a_call(
    documents: list[Document], batch_size: int
) -> None:
    cut = list(batches.batches(documents, batch_size, most_bytes=500))
    ids = []
    for batch in cut:
        assert 1 <= len(batch) <= batch_size
        assert len(batch.messages) == 1 or batch.size_bytes <= 500
        sent = UpsertBatch([UpsertResult(one.id, None) for one in batch.messages], "t")
        results = batch.outcome(sent if batch.messages else None).results
        ids += [result.id for result in results]
        for result in results:
            assert (result.error is None) == (result.id in {"a", "b"})
    assert ids == [document.id for document in documents]


def test_a_bad_id_says_what_is_wrong_with_it() -> None:
    (batch,) = batches.batches([Document(""), Document("a\n"), Document("é" * 129)], 10)
    sentences = [str(result.error) for result in batch.refused.values()]
    assert sentences == [
        "document.id: has 0 bytes, must have 1 to 256",
        "document.id: holds a control character",
        "document.id: has 258 bytes, must have 1 to 256",
    ]


def test_attributes_nested_too_deeply_fail_their_document_alone() -> None:
    deep: Any = 1
    for _ in range(200):
        deep = {"k": deep}
    documents = [Document("a", "milk"), Document("b", attributes=deep), Document("c", "bread")]
    (batch,) = batches.batches(documents, 10)
    assert [one.id for one in batch.messages] == ["a", "c"]
    assert isinstance(batch.refused[1].error, InvalidRequest)
