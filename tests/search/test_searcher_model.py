"""Searches over passages against all of them compared in Python: any documents, replaced and
deleted in any order, swept or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchmesh_search.collection_spec import Segmentation
from searchmesh_search.searcher import Searcher, SearchQuery
from searchmesh_search.segments import mean_vector

from .engines import between_runs
from .stack import MODEL, document, open_stack, soon, word_vector

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from searchmesh_search.milvus_engine import MilvusEngine

    from .stack import Stack

    Steps = list[tuple[str, str, list[str]]]
    Ranked = list[tuple[str, float, tuple[int, int] | None]]
    """Documents, their scores and where their best passages lie."""

WORDS = st.sampled_from([f"w{number}" for number in range(30)])
IDS = st.sampled_from("abcdef")
# long documents own all of the nearest rows, short ones must be found behind them
TEXTS = st.one_of(
    st.lists(WORDS, min_size=1, max_size=6), st.lists(WORDS, min_size=40, max_size=60)
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("upsert"), IDS, TEXTS),
        st.tuples(st.just("vector"), IDS, st.lists(WORDS, min_size=1, max_size=1)),
        st.tuples(st.just("delete"), IDS, st.just([])),
        st.tuples(st.just("sweep"), IDS, st.just([])),
    ),
    min_size=1,
    max_size=10,
)


@pytest.mark.slow
def test_any_sequence_of_writes_is_searched_as_its_current_passages(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    @settings(max_examples=40, deadline=None)
    @given(STEPS, WORDS, st.integers(1, 7), st.integers(0, 3))
    def check(steps: Steps, word: str, limit: int, offset: int) -> None:
        query = SearchQuery("texts", limit=limit, offset=offset)
        runner.run(follow(tmp_path_factory.mktemp("stack"), engine, steps, word, query))

    with between_runs("milvus-lite", tmp_path_factory.mktemp("engine")) as (runner, engine):
        check()


async def follow(
    folder: Path, engine: MilvusEngine, steps: Steps, word: str, page: SearchQuery
) -> None:
    async with open_stack(folder, engine) as stack:
        texts = await stack.collection("texts", "tiny", segmentation=Segmentation.SEGMENTS)
        model: dict[str, list[tuple[np.ndarray, tuple[int, int] | None]]] = {}
        for step, document_id, words in steps:
            text = " ".join(words)
            if step == "upsert":
                await stack.upsert(texts, document(document_id, None, text=text))
                model[document_id] = passages(words)
            elif step == "vector":
                vector = word_vector(text)
                await stack.upsert(texts, document(document_id, vector.tolist(), text=text))
                model[document_id] = [(vector, None)]
            elif step == "delete":
                await stack.writer.delete(texts, [document_id], "", soon())
                model.pop(document_id, None)
            else:
                await stack.sweeper.sweep(soon())
                held = await stack.engine.count_rows(texts.physical, 5)
                assert held == sum(len(one) for one in model.values())
        await compare(stack, model, word, page)


async def compare(
    stack: Stack,
    model: Mapping[str, list[tuple[np.ndarray, tuple[int, int] | None]]],
    word: str,
    page: SearchQuery,
) -> None:
    vector = word_vector(word)
    expected = ranked(model, vector)
    assert_alike(await found(stack, page, vector=vector), expected[page.offset :][: page.limit])
    least = 0.5
    assert_alike(
        await found(stack, page, vector=vector, min_score=least),
        [one for one in expected if one[1] >= least][page.offset :][: page.limit],
    )
    for document_id, held in model.items():
        others = {one: of_it for one, of_it in model.items() if one != document_id}
        mean = mean_vector(np.stack([each for each, _ in held]), MODEL.space.metric)
        assert_alike(
            await found(stack, page, document_id=document_id),
            ranked(others, mean)[page.offset :][: page.limit],
        )


def passages(words: list[str]) -> list[tuple[np.ndarray, tuple[int, int] | None]]:
    held: list[tuple[np.ndarray, tuple[int, int] | None]] = []
    start = 0
    for word in words:
        held.append((word_vector(word), (start, start + len(word))))
        start += len(word) + 1
    return held


def ranked(
    model: Mapping[str, list[tuple[np.ndarray, tuple[int, int] | None]]], query: np.ndarray
) -> Ranked:
    best: Ranked = []
    for document_id, held in model.items():
        scores = [cosine(query, vector) for vector, _ in held]
        # of equal scores the first segment
        place = max(range(len(held)), key=lambda one: (round(scores[one], 5), -one))
        best.append((document_id, scores[place], held[place][1]))
    return sorted(best, key=lambda one: (-round(one[1], 5), one[0]))


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one.astype(np.float64), other.astype(np.float64)
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


async def found(stack: Stack, page: SearchQuery, **query: object) -> Ranked:
    searcher = Searcher(
        stack.journal, stack.collections, stack.documents, stack.engine, stack.models.encode_query
    )
    changed = {"limit": page.limit, "offset": page.offset, **query}
    result = await searcher.search(SearchQuery("texts", **changed), soon())  # type: ignore[arg-type]
    return [
        (hit.document_id, hit.score, None if hit.span is None else (hit.span.start, hit.span.end))
        for hit in result.hits
    ]


def assert_alike(given: Ranked, expected: Ranked) -> None:
    assert [(one, span) for one, _, span in given] == [(one, span) for one, _, span in expected]
    np.testing.assert_allclose(
        [score for _, score, _ in given], [score for _, score, _ in expected], atol=1e-5
    )
