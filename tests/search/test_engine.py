"""The contract of `Engine`, kept by every engine there is."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from searchmesh_common.errors import (
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    Unavailable,
)
from searchmesh_common.ports import StartError
from searchmesh_search.deadline import Deadline
from searchmesh_search.engine import (
    DeclaredField,
    FieldType,
    Index,
    Lexical,
    Metric,
    Row,
    row_key,
)
from searchmesh_search.filters.filter import Comparison, Operator
from searchmesh_search.milvus_engine import MilvusEngine
from searchmesh_search.milvus_stubs import milvus

from .engines import (
    ENGINES,
    SOON,
    between_runs,
    row,
    rows,
    schema,
    server_of,
    started,
    until_up,
    vectors,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from searchmesh_search.engine import CollectionSchema, EngineHit

    from .milvus_server import MilvusServer

on_shared_engine = pytest.mark.asyncio(loop_scope="module")

FIELDS = (
    DeclaredField("in", FieldType.STRING),
    DeclaredField("vector", FieldType.INT64),
    DeclaredField("price", FieldType.DOUBLE),
    DeclaredField("sold", FieldType.BOOL),
)

IDS = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1).filter(
    lambda text: len(text.encode()) <= 256
)

AWKWARD_IDS = [
    "it's",
    '"',
    "\\",
    "\\'",
    "x') OR ('1'='1",
    '"] or pk in ["',
    "#",
    "a#1#0",
    "%",
    "%27",
    "%2527",
    "{key}",
    "\\u0041",
    " ",
    "\u2028",
    "x" * 256,
    "'" * 256,
    "é" * 128,
    "🏴" * 64,
]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=ENGINES)
async def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[MilvusEngine]:
    server = server_of(request.param, request)
    async with started(request.param, tmp_path_factory.mktemp("engine"), server) as engine:
        yield engine


@pytest_asyncio.fixture(loop_scope="module")
async def engine(shared: MilvusEngine) -> AsyncIterator[MilvusEngine]:
    """An engine without collections."""
    yield shared
    for physical in await shared.list_collections(SOON):
        await shared.drop_collection(physical, SOON)


async def told_of_index(engine: MilvusEngine, physical: str) -> dict[str, int]:
    """What the engine itself says the vectors' index is built with."""
    request = milvus.DescribeIndexRequest(collection_name=physical, field_name="vector")
    answer = await engine._call("DescribeIndex", request, Deadline.after(SOON), physical)
    (index,) = answer.index_descriptions
    told = {pair.key: pair.value for pair in index.params}
    told |= json.loads(told.get("params", "{}"))  # a server repeats what it was sent
    return {name: int(told[name]) for name in ("nlist", "M", "efConstruction") if name in told}


def ids(hits: list[EngineHit]) -> list[str]:
    return [hit.document_id for hit in hits]


@on_shared_engine
class TestWords:
    """An engine searches by words, or says that it does not and who does."""

    async def made(self, engine: MilvusEngine, lexical: Lexical, *texts: str) -> None:
        described = schema(lexical=lexical, fields=FIELDS)
        if not engine.capabilities.analyzers:
            with pytest.raises(FailedPrecondition, match="the engine milvus-lite has it") as raised:
                await engine.create_collection("words", described, SOON)
            assert raised.value.reason == "ENGINE_LACKS"
            pytest.skip("this engine has no search by words, and said so")
        await engine.create_collection("words", described, SOON)
        stored = [
            Row(text, 1, 0, vector, {"price": float(place)}, text)
            for place, (text, vector) in enumerate(zip(texts, vectors(len(texts)), strict=True))
        ]
        await engine.insert("words", stored, SOON)

    async def test_k1_and_b_are_those_of_the_collection(self, engine: MilvusEngine) -> None:
        texts = ("dog", "dog dog", "dog cat cow hen")
        await self.made(engine, Lexical(k1=0.0, b=0.0), *texts)
        flat = await engine.search_words("words", "dog", 9, SOON)
        assert len({hit.score for hit in flat}) == 1
        await engine.drop_collection("words", SOON)
        await self.made(engine, Lexical(k1=3.0, b=0.0), *texts)
        often, *others = await engine.search_words("words", "dog", 9, SOON)
        assert often.document_id == "dog dog"
        assert others[0].score == others[1].score < often.score
        await engine.drop_collection("words", SOON)
        await self.made(engine, Lexical(k1=3.0, b=1.0), *texts)
        assert ids(await engine.search_words("words", "dog", 9, SOON))[-1] == "dog cat cow hen"

    async def test_only_rows_with_a_word_come_and_writes_are_seen(
        self, engine: MilvusEngine
    ) -> None:
        await self.made(engine, Lexical(), "red apples", "red", "", "blue")
        where = Comparison("price", Operator.LESS, 1.0)
        assert ids(await engine.search_words("words", "apple", 9, SOON)) == ["red apples"]
        assert len(await engine.search_words("words", "red", 1, SOON)) == 1
        assert ids(await engine.search_words("words", "red", 9, SOON, where=where)) == [
            "red apples"
        ]
        token = await engine.delete("words", [row_key("red", 1, 0)], SOON)
        found = await engine.search_words("words", "red", 9, SOON, read_after=token)
        assert ids(found) == ["red apples"]

    async def test_made_again_without_words_is_refused(self, engine: MilvusEngine) -> None:
        await self.made(engine, Lexical(), "red")
        await engine.create_collection("words", schema(lexical=Lexical(), fields=FIELDS), SOON)
        for other in (schema(fields=FIELDS), schema(lexical=Lexical(k1=2.0), fields=FIELDS)):
            with pytest.raises(AlreadyExists, match="another schema"):
                await engine.create_collection("words", other, SOON)


@on_shared_engine
class TestCollections:
    async def test_made_listed_and_dropped(self, engine: MilvusEngine) -> None:
        await engine.create_collection("one", schema(), SOON)
        await engine.create_collection("two", schema(16), SOON)
        assert sorted(await engine.list_collections(SOON)) == ["one", "two"]
        await engine.drop_collection("one", SOON)
        await engine.drop_collection("one", SOON)
        assert await engine.list_collections(SOON) == ["two"]
        assert not await engine.has_collection("one", SOON)
        assert await engine.has_collection("two", SOON)

    async def test_made_again_keeps_its_rows(self, engine: MilvusEngine) -> None:
        described = schema(fields=FIELDS, index=Index("IVF_FLAT", {"nlist": 8, "nprobe": 4}))
        await engine.create_collection("one", described, SOON)
        await engine.insert("one", rows(vectors(3)), SOON)
        await engine.create_collection("one", described, SOON)
        assert await engine.count_rows("one", SOON) == 3

    async def test_made_again_differently_is_refused(self, engine: MilvusEngine) -> None:
        await engine.create_collection("one", schema(8), SOON)
        with pytest.raises(AlreadyExists, match="another schema"):
            await engine.create_collection("one", schema(16), SOON)

    async def test_dropped_and_made_anew_is_empty(self, engine: MilvusEngine) -> None:
        await engine.create_collection("one", schema(8), SOON)
        await engine.insert("one", rows(vectors(3)), SOON)
        await engine.drop_collection("one", SOON)
        await engine.create_collection("one", schema(16, Metric.EUCLIDEAN), SOON)
        assert await engine.count_rows("one", SOON) == 0
        token = await engine.insert("one", rows(vectors(1, 16)), SOON)
        ((hit,),) = await engine.search("one", vectors(1, 16), 1, SOON, read_after=token)
        assert hit.score == 0.0

    @pytest.mark.parametrize(
        ("described", "lacking"),
        [
            (schema(index=Index("DISKANN")), "index DISKANN for float vectors"),
            (schema(8, Metric.JACCARD, index=Index("HNSW")), "index HNSW for binary vectors"),
            (schema(40_000), "dimension 40000"),
        ],
    )
    async def test_what_the_engine_lacks_is_refused(
        self, engine: MilvusEngine, described: CollectionSchema, lacking: str
    ) -> None:
        with pytest.raises(FailedPrecondition, match=lacking) as caught:
            await engine.create_collection("one", described, SOON)
        assert caught.value.reason == "ENGINE_LACKS"
        assert "no engine of this service has it" in caught.value.message
        assert await engine.list_collections(SOON) == []

    async def test_every_declared_index_is_taken(self, engine: MilvusEngine) -> None:
        can = engine.capabilities
        declared = [(Metric.COSINE, one) for one in sorted(can.indexes)]
        declared += [(Metric.JACCARD, one) for one in sorted(can.binary_indexes)]
        for place, (metric, index) in enumerate(declared):
            described = schema(64, metric, index=Index(index))
            await engine.create_collection(f"c{place}", described, SOON)
        assert len(await engine.list_collections(SOON)) == len(declared)

    async def test_the_parameters_arrive(self, engine: MilvusEngine) -> None:
        ivf = Index("IVF_FLAT", {"nlist": 7, "nprobe": 3})
        await engine.create_collection("ivf", schema(index=ivf), SOON)
        assert await told_of_index(engine, "ivf") == {"nlist": 7}
        if "HNSW" in engine.capabilities.indexes:
            hnsw = Index("HNSW", {"m": 9, "ef_construction": 77, "ef": 33})
            await engine.create_collection("hnsw", schema(index=hnsw), SOON)
            assert await told_of_index(engine, "hnsw") == {"M": 9, "efConstruction": 77}

    async def test_a_missing_one_is_not_found(self, engine: MilvusEngine) -> None:
        for call in (
            engine.insert("no", rows(vectors(1)), SOON),
            engine.delete("no", ["a#1#0"], SOON),
            engine.search("no", vectors(1), 1, SOON),
            engine.vectors("no", ["a#1#0"], SOON),
            engine.values("no", ["a#1#0"], "price", SOON),
            engine.count_rows("no", SOON),
        ):
            with pytest.raises(NotFound, match="'no'"):
                await call

    async def test_one_dropped_behind_our_back_is_not_found(self, engine: MilvusEngine) -> None:
        await engine.create_collection("one", schema(), SOON)
        engine._schemas["gone"] = schema()
        with pytest.raises(NotFound):
            await engine.search("gone", vectors(1), 1, SOON)


@on_shared_engine
class TestSearch:
    @pytest.mark.parametrize("metric", [Metric.COSINE, Metric.INNER_PRODUCT, Metric.EUCLIDEAN])
    @pytest.mark.parametrize("index", ["FLAT", "IVF_FLAT"])
    async def test_float_scores(self, engine: MilvusEngine, metric: Metric, index: str) -> None:
        stored, queries = vectors(60, 24), vectors(5, 24, seed=1)
        described = schema(24, metric, index=Index(index, {}))
        await engine.create_collection("one", described, SOON)
        token = await engine.insert("one", rows(stored), SOON)
        dots = queries @ stored.T
        norms = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(stored, axis=1)
        distances = np.linalg.norm(queries[:, None] - stored[None], axis=2)
        expected = {
            Metric.COSINE: dots / norms,
            Metric.INNER_PRODUCT: dots,
            Metric.EUCLIDEAN: -distances,
        }[metric]
        found = await engine.search("one", queries, 7, SOON, read_after=token)
        for hits, scores in zip(found, expected, strict=True):
            best = np.argsort(-scores)[:7]
            assert ids(hits) == [f"d{place}" for place in best]
            np.testing.assert_allclose([hit.score for hit in hits], scores[best], rtol=1e-5)

    @pytest.mark.parametrize("metric", [Metric.JACCARD, Metric.HAMMING])
    async def test_binary_scores(self, engine: MilvusEngine, metric: Metric) -> None:
        generator = np.random.default_rng(2)
        stored = generator.integers(0, 256, (40, 8), np.uint8)
        await engine.create_collection("one", schema(64, metric), SOON)
        token = await engine.insert("one", rows(stored), SOON)
        bits = np.unpackbits(stored, axis=1).astype(int)
        both, either = bits[:1] & bits, bits[:1] | bits
        expected = {
            Metric.JACCARD: both.sum(1) / either.sum(1),
            Metric.HAMMING: -(bits[:1] ^ bits).sum(1).astype(float),
        }[metric]
        (hits,) = await engine.search("one", stored[:1], 40, SOON, read_after=token)
        assert hits[0].document_id == "d0"
        for hit in hits:
            assert hit.score == pytest.approx(expected[int(hit.document_id[1:])], abs=1e-6)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)

    async def test_cosines_stay_in_their_range(self, engine: MilvusEngine) -> None:
        stored = vectors(300, 384)
        await engine.create_collection("one", schema(384), SOON)
        token = await engine.insert("one", rows(stored), SOON)
        found = await engine.search("one", stored, 1, SOON, read_after=token)
        assert ids([hits[0] for hits in found]) == [f"d{place}" for place in range(300)]
        assert all(1 - 1e-6 < hits[0].score <= 1.0 for hits in found)

    async def test_fewer_rows_than_asked_for(self, engine: MilvusEngine) -> None:
        await engine.create_collection("one", schema(), SOON)
        assert await engine.search("one", vectors(2), 5, SOON) == [[], []]
        token = await engine.insert("one", rows(vectors(3)), SOON)
        found = await engine.search("one", vectors(2), 5, SOON, read_after=token)
        assert [len(hits) for hits in found] == [3, 3]

    async def test_most_rows_at_once(self, engine: MilvusEngine) -> None:
        await engine.create_collection("one", schema(), SOON)
        token = await engine.insert("one", rows(vectors(2000)), SOON)
        most = engine.capabilities.max_limit
        (hits,) = await engine.search("one", vectors(1), most, SOON, read_after=token)
        assert len(set(ids(hits))) == 2000

    async def test_a_hit_names_its_row(self, engine: MilvusEngine) -> None:
        await engine.create_collection("one", schema(), SOON)
        token = await engine.insert("one", [row("a#7#7", vectors(1)[0], generation=2**40)], SOON)
        ((hit,),) = await engine.search("one", vectors(1), 1, SOON, read_after=token)
        assert (hit.document_id, hit.generation, hit.segment) == ("a#7#7", 2**40, 0)

    async def test_a_vector_of_another_width_is_refused(self, engine: MilvusEngine) -> None:
        await engine.create_collection("one", schema(8), SOON)
        with pytest.raises(InvalidRequest, match="9 components given, the collection holds 8"):
            await engine.search("one", vectors(1, 9), 1, SOON)

    async def test_a_foreign_token_is_refused(self, engine: MilvusEngine) -> None:
        await engine.create_collection("one", schema(8), SOON)
        with pytest.raises(InvalidRequest, match="read_after"):
            await engine.search("one", vectors(1), 1, SOON, read_after=b"hello")


@on_shared_engine
class TestRows:
    async def test_a_write_is_seen_by_the_next_read(self, engine: MilvusEngine) -> None:
        await engine.create_collection("one", schema(), SOON)
        for place, vector in enumerate(vectors(80 if engine.pid else 8)):
            token = await engine.insert("one", [row(f"d{place}", vector)], SOON)
            for read_after in (b"", token):
                (hits,) = await engine.search("one", vector[None], 1, SOON, read_after=read_after)
                assert ids(hits) == [f"d{place}"]
            assert await engine.count_rows("one", SOON) == 1
            key = row_key(f"d{place}", 1, 0)
            assert set(await engine.vectors("one", [key], SOON)) == {key}
            token = await engine.delete("one", [key], SOON)
            for read_after in (b"", token):
                found = await engine.search("one", vector[None], 1, SOON, read_after=read_after)
                assert found == [[]]

    async def test_equal_keys_replace(self, engine: MilvusEngine) -> None:
        await engine.create_collection("one", schema(), SOON)
        first, second, third = vectors(3)
        await engine.insert("one", [row("a", first), row("b", first), row("a", second)], SOON)
        assert await engine.count_rows("one", SOON) == 2
        await engine.insert("one", [row("b", third)], SOON)
        stored = await engine.vectors("one", ["a#1#0", "b#1#0"], SOON)
        np.testing.assert_array_equal(stored["a#1#0"], second)
        np.testing.assert_array_equal(stored["b#1#0"], third)
        assert await engine.count_rows("one", SOON) == 2

    async def test_writes_of_one_key_at_once_leave_one_row(self, engine: MilvusEngine) -> None:
        await engine.create_collection("one", schema(), SOON)
        await asyncio.gather(
            *(
                engine.insert("one", [row(key, vector)], SOON)
                for key in "abcde"
                for vector in vectors(30)
            )
        )
        assert await engine.count_rows("one", SOON) == 5

    async def test_large_calls_are_cut(self, engine: MilvusEngine) -> None:
        stored = vectors(1500, 128)
        await engine.create_collection("one", schema(128), SOON)
        given = rows(stored)
        await engine.insert("one", given, SOON)
        assert await engine.count_rows("one", SOON) == 1500
        found = await engine.vectors("one", [one.key for one in given], SOON)
        np.testing.assert_array_equal(np.stack([found[one.key] for one in given]), stored)
        await engine.delete("one", [one.key for one in given[:1400]], SOON)
        assert await engine.count_rows("one", SOON) == 100

    async def test_nothing_to_do(self, engine: MilvusEngine) -> None:
        await engine.create_collection("one", schema(), SOON)
        await engine.insert("one", [], SOON)
        await engine.delete("one", [], SOON)
        await engine.delete("one", ["never#1#0"], SOON)
        assert await engine.vectors("one", [], SOON) == {}
        assert await engine.vectors("one", ["never#1#0"], SOON) == {}

    async def test_fields_of_every_type_and_none(self, engine: MilvusEngine) -> None:
        await engine.create_collection("one", schema(fields=FIELDS), SOON)
        full: dict[str, Any] = {
            "in": 'it\'s "é" \\',
            "vector": -(2**63),
            "price": 1e308,
            "sold": True,
        }
        await engine.insert(
            "one",
            [row("full", vectors(1)[0], **full), row("empty", vectors(1)[0], price=None)],
            SOON,
        )
        assert await engine.count_rows("one", SOON) == 2
        keys = ["full#1#0", "empty#1#0", "never#1#0"]
        for name, value in full.items():
            held = await engine.values("one", keys, name, SOON)
            assert held == {"full#1#0": value, "empty#1#0": None}
        assert await engine.values("one", keys[2:], "price", SOON) == {}

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"other": 1}, "field 'other' is not declared"),
            ({"vector": 2**63}, "no int64"),
            ({"vector": 1.5}, "no int64"),
            ({"price": "cheap"}, "no double"),
            ({"in": "x" * 65_536}, "65536 bytes given, at most 65535"),
        ],
    )
    async def test_a_value_that_does_not_fit_is_refused(
        self, engine: MilvusEngine, fields: dict[str, Any], message: str
    ) -> None:
        await engine.create_collection("one", schema(fields=FIELDS), SOON)
        with pytest.raises(InvalidRequest, match=message):
            await engine.insert("one", [row("a", vectors(1)[0], **fields)], SOON)
        assert await engine.count_rows("one", SOON) == 0

    async def test_a_vector_of_another_width_is_refused(self, engine: MilvusEngine) -> None:
        await engine.create_collection("one", schema(8), SOON)
        with pytest.raises(InvalidRequest, match="document 'b': 7 components given"):
            await engine.insert("one", [row("a", vectors(1)[0]), row("b", np.ones(7))], SOON)

    async def test_binary_vectors_come_back(self, engine: MilvusEngine) -> None:
        stored = np.random.default_rng(0).integers(0, 256, (20, 256), np.uint8)
        await engine.create_collection("one", schema(2048, Metric.JACCARD), SOON)
        await engine.insert("one", rows(stored), SOON)
        found = await engine.vectors("one", [one.key for one in rows(stored)], SOON)
        np.testing.assert_array_equal([found[f"d{place}#1#0"] for place in range(20)], stored)


async def id_survives(engine: MilvusEngine, given: list[str]) -> None:
    """Rows of these ids are found, fetched and dropped, each by its own key alone."""
    stored = vectors(len(given), 16)
    wanted = [row(*pair) for pair in zip(given, stored, strict=True)]
    token = await engine.insert("one", wanted, SOON)
    assert await engine.count_rows("one", SOON) == len(given)
    found = await engine.search("one", stored, 1, SOON, read_after=token)
    assert [hits[0].document_id for hits in found] == given
    keys = [row_key(one, 1, 0) for one in given]
    fetched = await engine.vectors("one", keys, SOON)
    np.testing.assert_array_equal([fetched[key] for key in keys], stored)
    await engine.delete("one", keys[:1], SOON)
    assert set(await engine.vectors("one", keys, SOON)) == set(keys[1:])
    await engine.delete("one", keys, SOON)
    assert await engine.count_rows("one", SOON) == 0


@on_shared_engine
async def test_awkward_ids(engine: MilvusEngine) -> None:
    await engine.create_collection("one", schema(16), SOON)
    await id_survives(engine, AWKWARD_IDS)


@pytest.mark.parametrize("name", ENGINES)
def test_any_ids(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with between_runs(name, tmp_path, server_of(name, request)) as (runner, engine):
        # a write to a server takes a tick of its clock
        @settings(max_examples=8 if name == "milvus" else 40, deadline=None, database=None)
        @given(st.lists(IDS, min_size=1, max_size=20, unique=True))
        def check(given_ids: list[str]) -> None:
            runner.run(id_survives(engine, given_ids))

        try:
            runner.run(engine.create_collection("one", schema(16), SOON))
            check()
        finally:
            runner.run(engine.drop_collection("one", SOON))


@on_shared_engine
class TestTime:
    async def test_no_time_left(self, engine: MilvusEngine) -> None:
        await engine.create_collection("one", schema(), SOON)
        with pytest.raises(DeadlineExceeded):
            await engine.search("one", vectors(1), 1, 0.0)
        with pytest.raises(DeadlineExceeded):
            await engine.insert("one", rows(vectors(1)), 0.0)

    async def test_a_closed_engine_is_away(self, tmp_path: Path) -> None:
        async with started("milvus-lite", tmp_path) as engine:
            await engine.create_collection("one", schema(), SOON)
        with pytest.raises(Unavailable):
            await engine.search("one", vectors(1), 1, 0.1)
        with pytest.raises(Unavailable):
            await engine.ping(0.1)


class TestEmbedded:
    async def test_what_it_lacks_is_refused_and_where_to_have_it_is_said(
        self, tmp_path: Path
    ) -> None:
        async with started("milvus-lite", tmp_path) as engine:
            with pytest.raises(FailedPrecondition) as caught:
                await engine.create_collection("one", schema(index=Index("HNSW")), SOON)
        assert caught.value.message == (
            f"the engine milvus-lite {engine.capabilities.version} does not have index HNSW for "
            "float vectors (it has FLAT, IVF_FLAT); the engine milvus has it "
            "(SEARCH_ENGINE=http://host:19530)"
        )


@pytest.mark.server
class TestRunningServer:
    async def test_a_token_of_one_client_holds_on_another(
        self, milvus_server: MilvusServer, tmp_path: Path
    ) -> None:
        uri = milvus_server.uri
        async with (
            started("milvus", tmp_path, uri) as writer,
            started("milvus", tmp_path, uri) as reader,
        ):
            await writer.create_collection("shared", schema(), SOON)
            for place, vector in enumerate(vectors(5)):
                token = await writer.insert("shared", [row(f"d{place}", vector)], SOON)
                (hits,) = await reader.search("shared", vector[None], 1, SOON, read_after=token)
                assert ids(hits) == [f"d{place}"]
                token = await reader.delete("shared", [row_key(f"d{place}", 1, 0)], SOON)
                assert await writer.search("shared", vector[None], 1, SOON, read_after=token) == [
                    []
                ]
            await writer.drop_collection("shared", SOON)

    async def test_a_server_that_stands_still_is_told_in_time_and_forgiven(
        self, milvus_server: MilvusServer, tmp_path: Path
    ) -> None:
        async with started("milvus", tmp_path, milvus_server.uri) as engine:
            await engine.create_collection("still", schema(), SOON)
            await engine.insert("still", rows(vectors(3)), SOON)
            with milvus_server.standing_still():
                began = time.monotonic()
                for call in (
                    engine.search("still", vectors(1), 1, 0.5),
                    engine.insert("still", rows(vectors(1), "late"), 0.5),
                    engine.ping(0.5),
                ):
                    with pytest.raises(DeadlineExceeded):
                        await call
                assert time.monotonic() < began + 5
            await until_up(engine)
            (hits,) = await engine.search("still", vectors(1), 1, SOON)
            assert ids(hits)
            await engine.insert("still", rows(vectors(1), "after"), SOON)
            await engine.drop_collection("still", SOON)


class TestServer:
    async def test_a_server_that_is_not_there_is_away(self) -> None:
        engine = MilvusEngine("http://127.0.0.1:1", "root:Milvus")
        await engine.start()
        try:
            with pytest.raises((Unavailable, DeadlineExceeded)):
                await engine.ping(1.0)
            assert engine.capabilities.name == "milvus"
            assert "HNSW" in engine.capabilities.indexes
        finally:
            await engine.close()

    @pytest.mark.parametrize("uri", ["ftp://host", "http://", "http://host:19530/database"])
    def test_another_uri_is_refused(self, uri: str) -> None:
        with pytest.raises(StartError, match="names no engine"):
            MilvusEngine(uri)
