"""Calls with filters over the wire: answers, refusals, and attempts to be more than a value."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct, Value

from searchmesh.search.v1 import document_service_pb2 as documents_pb
from searchmesh.search.v1 import search_service_pb2 as pb
from searchmesh.search.v1.collection_service_pb2 import (
    FIELD_TYPE_BOOL,
    FIELD_TYPE_DOUBLE,
    FIELD_TYPE_INT64,
    FIELD_TYPE_STRING,
    Field,
)
from searchmesh.search.v1.document_pb2 import Document
from searchmesh.search.v1.filter_pb2 import Filter, FilterList
from searchmesh.type.v1.content_pb2 import Content
from searchmesh_common.errors import FailedPrecondition, InvalidRequest, NotFound

from .mesh import SECONDS, faults, floats, refused

if TYPE_CHECKING:
    from typing import Any

    from .mesh import Mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

FIELDS = [
    Field(name="title", type=FIELD_TYPE_STRING),
    Field(name="year", type=FIELD_TYPE_INT64),
    Field(name="price", type=FIELD_TYPE_DOUBLE),
    Field(name="sold", type=FIELD_TYPE_BOOL),
]

BOOKS: list[dict[str, Any]] = [
    {"title": 'It\'s "quoted" \\ here', "year": 1999, "price": 9.5, "sold": True},
    {"title": "Überraschung 😀", "year": 2001, "price": -1, "sold": False},
    {"title": "100% _sure_", "year": 2001},
    {"title": None, "year": -5, "price": 0.1, "sold": True},
    {},
]

INJECTIONS = [
    '" or f_year > 0 or f_title == "',
    '\' or "1"=="1',
    "') OR ('1'='1",
    '"] or pk in ["',
    "x' UNION SELECT * FROM documents --",
    '\\" or true or f_title == \\"',
    "${title}",
    "{title}",
    "%",
    "_",
    "\\",
    "\u2028",
    "\n) or (has_title == true",
]


def attributes(**values: Any) -> Struct:
    struct = Struct()
    struct.update(values)
    return struct


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def books(mesh: Mesh) -> str:
    """A collection of BOOKS; the score of b4 for (1, 0, 0, 0) is the best."""
    name = f"c{uuid.uuid4().hex}"
    await mesh.create(name, fields=FIELDS)
    await mesh.upsert(name, *(book(place, one) for place, one in enumerate(BOOKS)))
    return name


def book(place: int, values: dict[str, Any]) -> Document:
    return Document(id=f"b{place}", vector=floats(place, 1, 0, 0), attributes=attributes(**values))


async def search(mesh: Mesh, collection: str, where: str | dict[str, Any]) -> list[str]:
    form: dict[str, Any] = (
        {"filter": where} if isinstance(where, str) else {"filter_tree": ParseDict(where, Filter())}
    )
    query = floats(1, 0, 0, 0)
    found = [hit.id for hit in (await mesh.find(collection, vector=query, **form)).hits]
    assert await count(mesh, collection, **form) == len(found)
    return found


async def count(mesh: Mesh, collection: str, **form: Any) -> int:
    request = documents_pb.CountDocumentsRequest(collection=collection, **form)
    return int((await mesh.documents.CountDocuments(request, timeout=SECONDS)).count)


def equal(field: str, value: Any) -> dict[str, Any]:
    return {"comparison": {"field": field, "operator": "COMPARISON_OPERATOR_EQUAL", "value": value}}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("year = 2001", ["b2", "b1"]),
        ("year > 1999 AND sold = false", ["b1"]),
        ("NOT year > 1999", ["b4", "b3", "b0"]),
        ("title LIKE '100\\%%'", ["b2"]),
        ("title = 'Überraschung 😀'", ["b1"]),
        (r'title = "It\'s \"quoted\" \\ here"', ["b0"]),
        ("EXISTS price OR NOT EXISTS year", ["b4", "b3", "b1", "b0"]),
        ("price BETWEEN -1 AND 0.1", ["b3", "b1"]),
        (equal("sold", True), ["b3", "b0"]),
        ({"negation": {"exists": "title"}}, ["b4", "b3"]),
        (
            {"all_of": {"filters": [{"exists": "year"}, {"negation": equal("year", 2001)}]}},
            ["b3", "b0"],
        ),
        ({"inclusion": {"field": "year", "values": [1999, -5, 7]}}, ["b3", "b0"]),
        ({"prefix": {"field": "title", "prefix": "100%"}}, ["b2"]),
    ],
)
async def test_only_what_it_is_true_for(
    mesh: Mesh, books: str, where: str | dict[str, Any], expected: list[str]
) -> None:
    assert await search(mesh, books, where) == expected


@pytest.mark.parametrize("value", INJECTIONS)
async def test_a_value_is_never_more_than_a_value(mesh: Mesh, books: str, value: str) -> None:
    everything = [f"b{place}" for place in (2, 1, 0)]
    for tree in (
        equal("title", value),
        {"prefix": {"field": "title", "prefix": value}},
        {"inclusion": {"field": "title", "values": [value, value * 2]}},
    ):
        assert await search(mesh, books, tree) == []
        has_title = {"all_of": {"filters": [{"exists": "title"}, {"negation": tree}]}}
        assert await search(mesh, books, has_title) == everything
    name = f"c{uuid.uuid4().hex}"
    await mesh.create(name, fields=FIELDS)
    await mesh.upsert(name, book(0, {"title": value}), book(1, {"title": "other"}))
    assert await search(mesh, name, equal("title", value)) == ["b0"]
    await mesh.delete(name)


async def test_offset_and_limit_are_of_what_is_left(mesh: Mesh, books: str) -> None:
    query = floats(1, 0, 0, 0)
    found = await mesh.find(books, vector=query, filter="EXISTS year", limit=2, offset=1)
    assert [hit.id for hit in found.hits] == ["b2", "b1"]
    like = await mesh.find(books, document_id="b3", filter="EXISTS year", limit=2)
    assert [hit.id for hit in like.hits] == ["b2", "b1"]


async def test_passages_are_filtered_by_their_document(mesh: Mesh) -> None:
    name = f"c{uuid.uuid4().hex}"
    await mesh.create(name, model="tiny", segmentation="SEGMENTATION_SEGMENTS", fields=FIELDS)
    long = "Alpha beta gamma. " * 20
    await mesh.upsert(
        name,
        Document(id="old", content=Content(text=long), attributes=attributes(year=1999)),
        Document(id="new", content=Content(text=long), attributes=attributes(year=2001)),
    )
    found = await mesh.find(name, text="beta", filter="year < 2000")
    assert [hit.id for hit in found.hits] == ["old"]
    assert await count(mesh, name, filter="EXISTS year") == 2
    facets = pb.FacetsRequest(collection=name, field="year")
    answer = await mesh.search.Facets(facets, timeout=SECONDS)
    assert [(one.value.number_value, one.count) for one in answer.facets] == [(1999, 1), (2001, 1)]


async def test_facets(mesh: Mesh, books: str) -> None:
    async def facets(**request: Any) -> tuple[list[tuple[Any, int]], int]:
        message = pb.FacetsRequest(collection=books, **request)
        answer = await mesh.search.Facets(message, timeout=SECONDS)
        values = [
            (getattr(one.value, str(one.value.WhichOneof("kind"))), one.count)
            for one in answer.facets
        ]
        return values, answer.other_count

    assert await facets(field="year") == ([(2001, 2), (-5, 1), (1999, 1)], 0)
    assert await facets(field="year", limit=1) == ([(2001, 2)], 2)
    assert await facets(field="sold", filter="year > 0") == ([(False, 1), (True, 1)], 0)
    tree = ParseDict({"exists": "price"}, Filter())
    assert await facets(field="sold", filter_tree=tree) == ([(True, 2), (False, 1)], 0)


async def test_facets_that_cannot_be(mesh: Mesh, books: str) -> None:
    def facets(**request: Any) -> Any:
        request = {"collection": books, "field": "year", **request}
        return mesh.search.Facets(pb.FacetsRequest(**request), timeout=SECONDS)

    assert await faults(facets(field="colour")) == ["field"]
    assert await faults(facets(limit=0)) == ["limit"]
    assert await faults(facets(filter="year =")) == ["filter"]
    assert await faults(facets(read_after="nonsense")) == ["read_after"]
    assert await faults(facets(filter="year = 1", filter_tree=Filter(exists="year"))) == ["filter"]
    assert isinstance(await refused(facets(collection="missing")), NotFound)


async def test_deleted_by_either_form(mesh: Mesh) -> None:
    name = f"c{uuid.uuid4().hex}"
    await mesh.create(name, fields=FIELDS)
    await mesh.upsert(name, *(book(place, one) for place, one in enumerate(BOOKS)))

    async def delete(**request: Any) -> int:
        message = documents_pb.DeleteDocumentsRequest(collection=name, **request)
        answer = await mesh.documents.DeleteDocuments(message, timeout=SECONDS)
        assert bool(answer.write_token) == bool(answer.deleted_count)
        return int(answer.deleted_count)

    assert await delete(filter="year = 2001", request_id="once") == 2
    assert await delete(filter="year = 2001") == 0
    tree = ParseDict(equal("year", 2001), Filter())
    assert await delete(filter_tree=tree, request_id="once") == 2
    assert await count(mesh, name) == 3
    assert await search(mesh, name, "NOT year = 2001") == ["b4", "b3", "b0"]
    assert await delete(filter_tree=ParseDict({"negation": {"exists": "year"}}, Filter())) == 1
    assert await count(mesh, name) == 2


@pytest.mark.parametrize(
    ("where", "path", "message"),
    [
        ("colour = 1", "filter", "at character 1: colour is not declared"),
        ("year = 'x'", "filter", "year is declared int64"),
        ("year = 1 AND", "filter", "at character 13: the end stands here"),
        ("   ", "filter", "is blank"),
        ("title = '\0'", "filter", "cannot be asked"),
        (equal("colour", 1), "filter_tree.comparison.field", "colour is not declared"),
        (equal("year", "1"), "filter_tree.comparison.value", "year is declared int64"),
        (equal("year", None), "filter_tree.comparison.value", "null given"),
        (equal("year", 2**53), "filter_tree.comparison.value", "2^53 or more"),
        (equal("price", [1]), "filter_tree.comparison.value", "a string, a number or a boolean"),
        (
            {"any_of": {"filters": [{"exists": "year"}, {"exists": "f_year"}]}},
            "filter_tree.any_of.filters[1].exists",
            "f_year is not declared",
        ),
        (
            {"prefix": {"field": "year", "prefix": "1"}},
            "filter_tree.prefix.field",
            "year is declared int64",
        ),
        ({"all_of": {"filters": []}}, "filter_tree.all_of.filters", "0 given, 1 to 1000 allowed"),
        ({}, "filter_tree.node", "required"),
        ({"exists": "a b"}, "filter_tree.exists", "a b is not declared"),
        (
            {"prefix": {"field": "title"}},
            "filter_tree.prefix.prefix",
            "must not be empty",
        ),
        ({"inclusion": {"field": "year"}}, "filter_tree.inclusion.values", "0 given, 1 to 10000"),
        ({"between": {"field": "year", "low": 1}}, "filter_tree.between.high", "required"),
        (
            {"comparison": {"field": "year", "value": 1}},
            "filter_tree.comparison.operator",
            "required",
        ),
    ],
)
async def test_what_is_wrong_is_said_and_where(
    mesh: Mesh, books: str, where: str | dict[str, Any], path: str, message: str
) -> None:
    error = await refused(search(mesh, books, where))
    assert message in error.message
    if isinstance(error, FailedPrecondition):
        assert error.reason == "ENGINE_LACKS"
    else:
        assert isinstance(error, InvalidRequest)
        assert [one.field for one in error.violations] == [path]


async def test_both_forms_at_once(mesh: Mesh, books: str) -> None:
    both: dict[str, Any] = {"filter": "year = 1", "filter_tree": Filter(exists="year")}
    for call in (
        mesh.find(books, vector=floats(1, 0, 0, 0), **both),
        count(mesh, books, **both),
    ):
        error = await refused(call)
        assert isinstance(error, InvalidRequest)
        assert "give filter or filter_tree, not both" in error.message
    delete = documents_pb.DeleteDocumentsRequest(collection=books, **both)
    assert isinstance(await refused(mesh.documents.DeleteDocuments(delete)), InvalidRequest)


class TestTenThousandTerms:
    async def test_in_a_list_are_answered(self, mesh: Mesh, books: str) -> None:
        began = time.monotonic()
        years = {"inclusion": {"field": "year", "values": list(range(10_000))}}
        assert await search(mesh, books, years) == ["b2", "b1", "b0"]
        text = "year IN (" + ",".join(map(str, range(10_000))) + ")"
        assert await search(mesh, books, text) == ["b2", "b1", "b0"]
        assert time.monotonic() < began + 10

    async def test_each_a_comparison_are_answered_or_refused(self, mesh: Mesh, books: str) -> None:
        began = time.monotonic()
        thousand = Filter(any_of=FilterList(filters=[ParseDict(equal("year", 7), Filter())] * 1000))
        tree = Filter(all_of=FilterList(filters=[thousand] * 10))
        assert await count(mesh, books, filter_tree=tree) == 0
        text = " OR ".join(f"year={place}" for place in range(1995, 6500))
        assert await count(mesh, books, filter=text) == 3
        assert time.monotonic() < began + 10

    async def test_more_are_refused(self, mesh: Mesh, books: str) -> None:
        began = time.monotonic()
        value = Value(number_value=1)
        tree = ParseDict({"inclusion": {"field": "year", "values": [0]}}, Filter())
        tree.inclusion.values.extend([value] * 9_999)
        more = Filter(any_of=FilterList(filters=[tree, Filter(exists="year")]))
        error = await refused(count(mesh, books, filter_tree=more))
        assert "filter_tree: has more than 10000 terms" in error.message
        long = "year IN (" + ",".join("1" * 20_001) + ")"
        error = await refused(count(mesh, books, filter=long))
        assert "filter: has more than 10000 terms" in error.message
        longest = "year = 1 OR " * 6_000 + "year = 1"
        assert await faults(count(mesh, books, filter=longest)) == ["filter"]
        assert time.monotonic() < began + 10

    async def test_a_million_are_refused_at_once(self, mesh: Mesh, books: str) -> None:
        thousand = Filter(any_of=FilterList(filters=[Filter(exists="year")] * 1000))
        tree = Filter(all_of=FilterList(filters=[thousand] * 1000))
        began = time.monotonic()
        error = await refused(count(mesh, books, filter_tree=tree))
        assert "has more than 10000 terms" in error.message
        # where each is held to its rules first, nobody else is answered for as long as that takes
        assert time.monotonic() < began + 3

    async def test_all_at_fault_fit_one_status(self, mesh: Mesh, books: str) -> None:
        text = "year IN (" + ",".join(["'x'"] * 10_000) + ")"
        error = await refused(count(mesh, books, filter=text))
        assert isinstance(error, InvalidRequest)
        assert error.violations[-1].description.startswith("and ")

    async def test_nested_deeper_than_anything(self, mesh: Mesh, books: str) -> None:
        deep = Filter(exists="year")
        for _ in range(40):
            deep = Filter(negation=deep)
        error = await refused(count(mesh, books, filter_tree=deep))
        assert "nests deeper than 32 levels" in error.message
        error = await refused(count(mesh, books, filter="(" * 60_000))
        assert "nests deeper than 32 levels" in error.message
