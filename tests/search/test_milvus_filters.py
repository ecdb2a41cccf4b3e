"""Filters as the engines understand them, held to their evaluation in Python."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from searchmesh_common.errors import FailedPrecondition
from searchmesh_search.deadline import Deadline
from searchmesh_search.engine import Row
from searchmesh_search.filters.check import checked
from searchmesh_search.filters.evaluation import matches
from searchmesh_search.filters.filter import (
    AllOf,
    AnyOf,
    Comparison,
    Exists,
    Filter,
    Inclusion,
    Not,
    Operator,
    Prefix,
)
from searchmesh_search.filters.text import parse
from searchmesh_search.milvus_filters import LITE, SERVER, compiled
from searchmesh_search.milvus_stubs import milvus

from .engines import ENGINES, SOON, between_runs, row, schema, server_of, started, vectors
from .filters.random_filters import AWKWARD, FIELDS, attributes, filters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from searchmesh_search.milvus_engine import MilvusEngine

    from .milvus_server import MilvusServer

on_shared_engine = pytest.mark.asyncio(loop_scope="module")

Documents = dict[str, dict[str, Any]]

STRINGS: Documents = {
    **{f"s{place}": {"in": value} for place, value in enumerate(AWKWARD)},
    "null": {"in": None},
    "nothing": {},
}
NUMBERS: Documents = {
    "most": {"vector": 2**53 - 1, "price": 2.0**52},
    "least": {"vector": 1 - 2**53, "price": -(2.0**52)},
    "zero": {"vector": 0, "price": 0.0, "sold": False},
    "minus": {"vector": -1, "price": -0.0, "sold": True},
    "tiny": {"vector": 1, "price": 5e-324},
    "near": {"price": 0.1 + 0.2},
    "null": {"vector": None, "price": None, "sold": None},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=ENGINES)
async def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[MilvusEngine]:
    """An engine with the documents of STRINGS and of NUMBERS."""
    server = server_of(request.param, request)
    async with started(request.param, tmp_path_factory.mktemp("engine"), server) as engine:
        for name, documents in (("strings", STRINGS), ("numbers", NUMBERS)):
            await engine.create_collection(name, schema(fields=FIELDS), SOON)
            await engine.insert(name, rows_of(documents), SOON)
        yield engine
        for name in ("strings", "numbers"):
            await engine.drop_collection(name, SOON)


def rows_of(documents: Mapping[str, dict[str, Any]], generation: int = 1) -> list[Row]:
    return [
        Row(name, generation, 0, vector, fields)
        for (name, fields), vector in zip(documents.items(), vectors(len(documents)), strict=True)
    ]


async def true_for(engine: MilvusEngine, physical: str, where: Filter, count: int) -> list[str]:
    """Documents that the filter is true for, by a query and by a search, which must agree."""
    queried = [one.document_id for one in await engine.query(physical, where, 1000, SOON)]
    (hits,) = await engine.search(physical, vectors(1), count, SOON, where=where)
    assert sorted(hit.document_id for hit in hits) == sorted(queried)
    return sorted(queried)


async def held_to_evaluation(
    engine: MilvusEngine, physical: str, documents: Documents, wheres: Sequence[Filter]
) -> None:
    # together: on a server each waits for a tick of its clock
    found = await asyncio.gather(
        *(true_for(engine, physical, where, len(documents)) for where in wheres)
    )
    for where, names in zip(wheres, found, strict=True):
        assert names == expected(documents, where), where


def expected(documents: Mapping[str, dict[str, Any]], where: Filter) -> list[str]:
    return sorted(name for name, one in documents.items() if matches(where, one))


@on_shared_engine
@pytest.mark.parametrize("operator", list(Operator))
async def test_awkward_strings_mean_themselves(engine: MilvusEngine, operator: Operator) -> None:
    wheres: list[Filter] = [Comparison("in", operator, value) for value in AWKWARD]
    await held_to_evaluation(engine, "strings", STRINGS, [*wheres, *map(Not, wheres)])


@on_shared_engine
async def test_awkward_strings_in_lists_and_prefixes(engine: MilvusEngine) -> None:
    values = AWKWARD[::2]
    prefixes = [one for one in AWKWARD if one and not one.endswith("\r\n")]
    wheres: list[Filter] = [Inclusion("in", values), *(Prefix("in", one) for one in prefixes)]
    await held_to_evaluation(engine, "strings", STRINGS, [*wheres, *map(Not, wheres)])


@on_shared_engine
async def test_numbers_and_booleans(engine: MilvusEngine) -> None:
    texts = [
        "vector = 9007199254740991",
        "vector > 9007199254740990",
        "vector <= -9007199254740991",
        "vector != 0",
        "NOT vector = 0",
        "vector IN (-1, 0, 1)",
        "NOT vector IN (-1, 0, 1)",
        "vector BETWEEN 1 AND -1",
        "NOT vector BETWEEN -1 AND 1",
        "price = 0",
        "price = -0.0",
        "price > 0",
        "price >= 4503599627370496.0",
        "price < 1e300",
        "price = 0.3",
        "price = 0.30000000000000004",
        "price IN (5e-324, 1)",
        "NOT price IN (5e-324, 1)",
        "sold = false",
        "sold != true",
        "NOT sold = true",
        "sold IN (true)",
        "sold IN (true, false)",
        "NOT sold IN (false)",
        "EXISTS price",
        "NOT EXISTS vector",
        "EXISTS sold OR (vector = 1 AND NOT price = 1)",
    ]
    wheres = [checked(parse(text), FIELDS) for text in texts]
    await held_to_evaluation(engine, "numbers", NUMBERS, wheres)


@pytest.mark.parametrize("name", ENGINES)
def test_any_filter_over_any_rows(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with between_runs(name, tmp_path, server_of(name, request)) as (runner, engine):
        # a write to a server takes a tick of its clock
        @settings(max_examples=8 if name == "milvus" else 15, deadline=None, database=None)
        @given(
            st.lists(attributes(), min_size=1, max_size=20),
            st.lists(filters(), min_size=1, max_size=12),
        )
        def check(documents: list[dict[str, Any]], wheres: list[Filter]) -> None:
            named = {f"d{place}": one for place, one in enumerate(documents)}
            runner.run(stored_and_held(engine, named, wheres))

        try:
            runner.run(engine.create_collection("any", schema(fields=FIELDS), SOON))
            check()
        finally:
            runner.run(engine.drop_collection("any", SOON))


async def stored_and_held(
    engine: MilvusEngine, documents: Documents, wheres: Sequence[Filter]
) -> None:
    rows = rows_of(documents)
    await engine.insert("any", rows, SOON)
    try:
        await held_to_evaluation(engine, "any", documents, wheres)
    finally:
        await engine.delete("any", [one.key for one in rows], SOON)


@on_shared_engine
class TestQuery:
    async def test_pages_hold_every_row_once(self, engine: MilvusEngine) -> None:
        await engine.create_collection("pages", schema(fields=FIELDS), SOON)
        try:
            given_rows = [
                Row(f"d'{place % 100}", place // 100 + 1, segment, vector, {"vector": place})
                for place, vector in enumerate(vectors(500))
                for segment in range(2)
            ]
            await engine.insert("pages", given_rows, SOON)
            where = checked(parse("vector >= 50"), FIELDS)
            found = []
            after = ""
            while page := await engine.query("pages", where, 64, SOON, after=after):
                found += page
                after = page[-1].key
            assert len(found) == 450
            wanted = {(one.document_id, one.generation) for one in given_rows[100:]}
            assert {(one.document_id, one.generation) for one in found} == wanted
        finally:
            await engine.drop_collection("pages", SOON)

    @pytest.mark.server
    async def test_pages_go_on_over_rows_that_a_server_has_put_away(
        self, milvus_server: MilvusServer, tmp_path: Path
    ) -> None:
        async with started("milvus", tmp_path, milvus_server.uri) as engine:
            await engine.create_collection("sealed", schema(fields=FIELDS), SOON)
            for first in range(0, 90, 30):
                some = {f"d{place}": {"vector": place} for place in range(first, 90, 3)}
                await engine.insert("sealed", rows_of(some), SOON)
                flush = milvus.FlushRequest(collection_names=["sealed"])
                await engine._call("Flush", flush, Deadline.after(SOON), "sealed")
            found: list[str] = []
            after = ""
            while page := await engine.query("sealed", Exists("vector"), 7, SOON, after=after):
                found += [one.document_id for one in page]
                after = page[-1].key
            stored = {f"d{place}" for first in range(0, 90, 30) for place in range(first, 90, 3)}
            assert sorted(found) == sorted(stored)
            await engine.drop_collection("sealed", SOON)

    async def test_values_come_along(self, engine: MilvusEngine) -> None:
        for field in ("vector", "price", "sold"):
            found = await engine.query("numbers", None, 1000, SOON, field=field)
            values = {one.document_id: one.value for one in found}
            assert values == {name: one.get(field) for name, one in NUMBERS.items()}
        found = await engine.query("strings", None, 1000, SOON, field="in")
        assert [one.value for one in found if one.document_id == "null"] == [None]
        assert {one.document_id: one.value for one in found} == {
            name: one.get("in") for name, one in STRINGS.items()
        }

    async def test_only_among_keys(self, engine: MilvusEngine) -> None:
        keys = ["zero#1#0", "tiny#1#0", "most#2#0", "no'#1#0"]
        found = await engine.query("numbers", Exists("price"), 1000, SOON, keys=keys)
        assert sorted(one.key for one in found) == ["tiny#1#0", "zero#1#0"]
        assert await engine.query("numbers", Exists("sold"), 1000, SOON, keys=["tiny#1#0"]) == []

    async def test_it_sees_what_was_just_written(self, engine: MilvusEngine) -> None:
        await engine.create_collection("fresh", schema(fields=FIELDS), SOON)
        try:
            for place, vector in enumerate(vectors(5)):
                await engine.insert("fresh", [row(f"d{place}", vector, vector=place)], SOON)
                assert len(await engine.query("fresh", Exists("vector"), 100, SOON)) == place + 1
        finally:
            await engine.drop_collection("fresh", SOON)


@on_shared_engine
class TestLimits:
    async def test_ten_thousand_terms_are_answered(self, engine: MilvusEngine) -> None:
        numbers = tuple(range(-5_000, 5_000))
        found = await true_for(engine, "numbers", Inclusion("vector", numbers), len(NUMBERS))
        assert found == ["minus", "tiny", "zero"]

    async def test_the_deepest_and_widest_are_answered(self, engine: MilvusEngine) -> None:
        def equal(value: int) -> Filter:
            return Comparison("vector", Operator.EQUAL, value)

        where: Filter = equal(1)
        for depth in range(31):
            joined = AnyOf if depth % 2 else AllOf
            inner = equal(-1) if depth % 2 else Not(equal(7))
            where = joined((*[inner] * 30, where))
        found = await true_for(engine, "numbers", where, len(NUMBERS))
        assert found == expected(NUMBERS, where)

    async def test_as_deep_as_ten_thousand_terms_can_be(self, engine: MilvusEngine) -> None:
        other = Comparison("vector", Operator.NOT_EQUAL, 7)
        where: Filter = AnyOf((other,) * 9_900)
        for depth in range(30):
            where = (AnyOf if depth % 2 else AllOf)((other, where))
        found = await true_for(engine, "numbers", where, len(NUMBERS))
        assert found == expected(NUMBERS, where)

    async def test_what_is_too_deep_is_refused(self, engine: MilvusEngine) -> None:
        can = engine.capabilities
        can.require_filter(can.max_filter_bytes, can.max_filter_depth)
        with pytest.raises(FailedPrecondition, match="levels deep as it is asked") as caught:
            can.require_filter(1, 129)
        assert caught.value.reason == "ENGINE_LACKS"

    async def test_what_is_too_long_is_refused(self, engine: MilvusEngine) -> None:
        most = engine.capabilities.max_filter_bytes
        values = tuple("x" * 1000 + str(place) for place in range(most // 1000))
        with pytest.raises(FailedPrecondition, match="room for a filter that is") as caught:
            await engine.query("strings", Inclusion("in", values), 10, SOON)
        assert caught.value.reason == "ENGINE_LACKS"


def test_what_the_embedded_engine_cannot_be_asked_is_refused() -> None:
    for value in ("a\rb", "\r", "\n\r", "a\0"):
        with pytest.raises(FailedPrecondition, match="cannot be asked") as caught:
            compiled(Comparison("in", Operator.EQUAL, value), FIELDS, LITE)
        assert caught.value.reason == "ENGINE_LACKS"


@pytest.mark.parametrize(
    ("text", "lite", "server"),
    [
        ("vector = 5", "f_vector == 5", None),
        ("vector = 0", "(has_vector == true and f_vector == 0)", None),
        ("NOT vector = 5", "f_vector != 5", None),
        ("NOT vector = 0", "(has_vector == false or f_vector != 0)", None),
        ("vector != 5", "(has_vector == true and f_vector != 5)", None),
        ("NOT (vector = 5 OR sold = true)", "(f_vector != 5 and f_sold != true)", None),
        ("price = 1", "f_price == 1.0", None),
        ("in IN ('a', 'b')", 'f_in in ["a", "b"]', None),
        (
            "NOT in IN ('a', 'b')",
            '(f_in != "a" and f_in != "b")',
            'f_in not in ["a", "b"]',
        ),
        ("in LIKE 'ab%'", '(f_in >= "ab" and f_in < "ac")', None),
        (r"in = 'a\"b\\c'", r'f_in == "a\"b\\c"', None),
        (r"in = 'a\nb'", 'f_in == "a\\\nb"', r'f_in == "a\nb"'),
        ("EXISTS sold", "has_sold == true", None),
    ],
)
def test_what_compiles_to_what(text: str, lite: str, server: str | None) -> None:
    where = checked(parse(text), FIELDS)
    assert compiled(where, FIELDS, LITE).text == lite
    assert compiled(where, FIELDS, SERVER).text == (lite if server is None else server)


def test_a_long_chain_is_a_flat_tree() -> None:
    where = AnyOf(tuple(Comparison("vector", Operator.EQUAL, one) for one in range(1, 1025)))
    assert compiled(where, FIELDS, LITE).depth == 11


@pytest.mark.parametrize(
    ("prefix", "bound"),
    [("a", '"b"'), ("\ud7ff", '"\ue000"'), ("a\U0010ffff", '"b"'), ("\U0010ffff", None)],
)
def test_a_prefix_ends_where_the_next_begins(prefix: str, bound: str | None) -> None:
    text = compiled(Prefix("in", prefix), FIELDS, LITE).text
    assert text.count("f_in") == (1 if bound is None else 2)
    assert bound is None or f"f_in < {bound}" in text
