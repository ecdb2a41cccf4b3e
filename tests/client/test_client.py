"""Both clients against a server that answers as it is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import grpc
import numpy as np
import pytest
from google.protobuf.empty_pb2 import Empty
from grpc_health.v1 import health_pb2

from searchmesh import (
    AsyncClient,
    Client,
    Connection,
    Document,
    Health,
    Image,
    RetryPolicy,
    Service,
    VectorSpace,
    errors,
    request_id,
)
from searchmesh.search.v1 import (
    collection_service_pb2,
    document_service_pb2,
    search_service_pb2,
)
from tests.client.both import AnyClient
from tests.client.scripted import Scripted, scripted_server

Connect = Callable[[Connection], Awaitable[AnyClient]]
_FOUND = search_service_pb2.SearchResponse(hits=[search_service_pb2.Hit(id="a", score=0.5)])


async def test_a_busy_service_is_asked_again_after_the_time_it_named(
    server: Scripted, connect: Connect
) -> None:
    server.answer("Search", errors.Overloaded("full", 0.2), _FOUND)
    client = await connect(server.connection)
    started = time.monotonic()
    result = await client.call("search", "notes", "milk")
    assert [hit.id for hit in result] == ["a"]
    assert time.monotonic() - started >= 0.2
    assert len(server.calls["Search"]) == 2


async def test_attempts_of_one_call_carry_one_request_id_and_the_caller(
    server: Scripted, connect: Connect
) -> None:
    server.answer("Search", errors.Overloaded("full", 0.01), _FOUND)
    client = await connect(replace(server.connection, caller="tests"))
    await client.call("search", "notes", "milk")
    first, second = server.calls["Search"]
    assert first["x-request-id"] == second["x-request-id"]
    assert first["searchmesh-caller"] == "tests"


async def test_a_given_request_id_is_carried(server: Scripted, connect: Connect) -> None:
    server.answer("Search", _FOUND)
    client = await connect(server.connection)
    with request_id("order-17"):
        await client.call("search", "notes", "milk")
    await client.call("search", "notes", "milk")
    given, own = (call["x-request-id"] for call in server.calls["Search"])
    assert given == "order-17"
    assert own not in {"", "order-17"}


async def test_no_attempt_is_made_past_the_policy(server: Scripted, connect: Connect) -> None:
    server.answer("Search", errors.Overloaded("full", 0.01))
    policy = RetryPolicy(most_attempts=3)
    client = await connect(replace(server.connection, retries=policy))
    with pytest.raises(errors.Overloaded, match="full"):
        await client.call("search", "notes", "milk")
    assert len(server.calls["Search"]) == 3


async def test_what_cannot_come_in_time_is_told_at_once(server: Scripted, connect: Connect) -> None:
    server.answer("Search", errors.Overloaded("full", 5.0))
    client = await connect(server.connection)
    started = time.monotonic()
    with pytest.raises(errors.Overloaded):
        await client.call("search", "notes", "milk", timeout=2.0)
    assert time.monotonic() - started < 1.0


async def test_attempts_share_the_time_of_the_call(server: Scripted, connect: Connect) -> None:
    server.answer("Search", errors.Overloaded("full", 0.3), _FOUND)
    client = await connect(server.connection)
    await client.call("search", "notes", "milk", timeout=5.0)
    first, second = server.remaining_seconds
    # what a server reads may be more by what gRPC rounds up
    assert first <= 5.1
    assert second <= 4.8


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidRequest.of("limit", "must be at least 1"),
        errors.NotFound("collection", "notes", "there is no collection notes"),
        errors.FailedPrecondition("OTHER_SPACE", "the vector is of another space", {"got": "3"}),
        errors.DeadlineExceeded("too late"),
        errors.Unsupported("filters come later"),
        errors.Internal("a fault"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_errors_keep_their_type_and_words_and_are_not_repeated(
    server: Scripted, connect: Connect, error: errors.ServiceError
) -> None:
    server.answer("Search", error)
    client = await connect(server.connection)
    with pytest.raises(type(error)) as raised:
        await client.call("search", "notes", "milk")
    assert raised.value.message == error.message
    assert vars(raised.value).keys() == {*vars(error), "__notes__"}
    assert len(server.calls["Search"]) == 1


async def test_violations_name_their_fields(server: Scripted, connect: Connect) -> None:
    server.answer("Search", errors.InvalidRequest.of("limit", "must be at least 1"))
    client = await connect(server.connection)
    with pytest.raises(errors.InvalidRequest) as raised:
        await client.call("search", "notes", "milk")
    assert [str(one) for one in raised.value.violations] == ["limit: must be at least 1"]


async def test_nobody_at_the_address_is_unreachable(connect: Connect) -> None:
    with scripted_server() as gone:
        connection = gone.connection
    client = await connect(connection)
    with pytest.raises(errors.Unreachable, match=rf"search service at {connection.search}"):
        await client.call("search", "notes", "milk")


async def test_no_answer_in_time_says_to_wait_longer(server: Scripted, connect: Connect) -> None:
    def slow(_request: bytes) -> search_service_pb2.SearchResponse:
        time.sleep(0.5)
        return _FOUND

    server.answer("Search", slow)
    client = await connect(server.connection)
    with pytest.raises(errors.DeadlineExceeded, match=r"within 0\.1 s; give the call a longer"):
        await client.call("search", "notes", "milk", timeout=0.1)


@pytest.mark.parametrize("timeout", [0.0, -1.0])
async def test_no_time_at_all_is_not_the_default(
    server: Scripted, connect: Connect, timeout: float
) -> None:
    client = await connect(replace(server.connection, timeout=timeout))
    with pytest.raises(errors.InvalidRequest, match=r"timeout: .* above 0"):
        await client.call("search", "notes", "milk")
    client = await connect(server.connection)
    with pytest.raises(errors.InvalidRequest, match=r"timeout: .* above 0"):
        await client.call("search", "notes", "milk", timeout=timeout)
    assert not server.calls


async def test_a_request_past_the_clients_limit_names_the_limit(
    server: Scripted, connect: Connect
) -> None:
    client = await connect(replace(server.connection, max_message_bytes=1000))
    with pytest.raises(errors.InvalidRequest, match=r"the client's limit is 1,000 .*send less"):
        await client.call("search", "notes", "m" * 2000)


async def test_a_request_past_the_servers_limit_names_the_limit(connect: Connect) -> None:
    with scripted_server([("grpc.max_receive_message_length", 1000)]) as small:
        small.answer("Search", _FOUND)
        client = await connect(small.connection)
        with pytest.raises(errors.InvalidRequest, match=r"2,0\d\d bytes and the server's limit is"):
            await client.call("search", "notes", "m" * 2000)


async def test_an_answer_past_the_limit_says_to_ask_for_less(
    server: Scripted, connect: Connect
) -> None:
    hits = [search_service_pb2.Hit(id="x" * 100) for _ in range(50)]
    server.answer("Search", search_service_pb2.SearchResponse(hits=hits))
    client = await connect(replace(server.connection, max_message_bytes=1000))
    with pytest.raises(errors.InvalidRequest, match=r"the answer .*ask for less"):
        await client.call("search", "notes", "milk")


async def test_lists_fetch_every_page(server: Scripted, connect: Connect) -> None:
    pages = [
        collection_service_pb2.ListCollectionsResponse(
            collections=[collection_service_pb2.Collection(name=name)], next_page_token=token
        )
        for name, token in (("a", "1"), ("b", "2"), ("c", ""))
    ]
    server.answer("ListCollections", *pages)
    client = await connect(server.connection)
    found = await client.items("list_collections", page_size=1)
    assert [collection.name for collection in found] == ["a", "b", "c"]


async def test_changes_carry_a_request_id_so_that_they_may_be_repeated(
    server: Scripted, connect: Connect
) -> None:
    seen = []

    def keep(request: bytes) -> Empty:
        seen.append(collection_service_pb2.DeleteCollectionRequest.FromString(request).request_id)
        return Empty()

    server.answer("DeleteCollection", errors.Unavailable("draining", 0.01), keep)
    client = await connect(server.connection)
    await client.call("delete_collection", "notes")
    await client.call("delete_collection", "notes", request_id="mine")
    assert len(seen[0]) == 32
    assert seen[1] == "mine"


async def test_a_service_is_asked_as_often_as_the_policy_says(
    server: Scripted, connect: Connect
) -> None:
    server.answer("GetCollection", errors.Unavailable("the engine is away", 0.01))
    client = await connect(replace(server.connection, retries=RetryPolicy(most_attempts=3)))
    with pytest.raises(errors.Unavailable, match="the engine is away"):
        await client.call("get_collection", "notes")
    assert len(server.calls["GetCollection"]) == 3


async def test_health_by_name(server: Scripted, connect: Connect) -> None:
    server.answer("Check", health_pb2.HealthCheckResponse(status="NOT_SERVING"))
    client = await connect(server.connection)
    assert await client.call("health", Service.SEARCH) is Health.NOT_SERVING


async def test_a_query_must_be_one(server: Scripted, connect: Connect) -> None:
    client = await connect(server.connection)
    for query in ({}, {"query": "milk", "document_id": "a"}):
        with pytest.raises(errors.InvalidRequest, match="exactly one of query, vector and"):
            await client.call("search", "notes", **query)
    assert not server.calls


async def test_queries_of_every_kind_are_sent_as_such(server: Scripted, connect: Connect) -> None:
    seen = []

    def keep(request: bytes) -> search_service_pb2.SearchResponse:
        seen.append(search_service_pb2.SearchRequest.FromString(request))
        return _FOUND

    server.answer("Search", keep)
    client = await connect(server.connection)
    await client.call("search", "notes", "milk")
    await client.call("search", "notes", Image(b"\xff\xd8"))
    await client.call("search", "notes", vector=[1, 2.5])
    await client.call("search", "notes", document_id="a")
    text, image, vector, document = seen
    assert text.text == "milk"
    assert image.image == b"\xff\xd8"
    assert np.frombuffer(vector.vector.float32_le, "<f4").tolist() == [1, 2.5]
    assert document.document_id == "a"


def _echo_upsert(request: bytes) -> document_service_pb2.UpsertDocumentsResponse:
    """Stores everything but what is called bad."""
    response = document_service_pb2.UpsertDocumentsResponse(write_token="t")
    for document in document_service_pb2.UpsertDocumentsRequest.FromString(request).documents:
        result = response.results.add(id=document.id)
        if document.id.startswith("bad"):
            result.status.code = 3
            result.status.message = "no"
    return response


@pytest.mark.parametrize("parallel", [1, 3])
async def test_upsert_takes_any_number_and_reports_failures_in_place(
    server: Scripted, connect: Connect, parallel: int
) -> None:
    server.answer("UpsertDocuments", _echo_upsert)
    documents = [Document(f"bad{n}" if n % 10 == 3 else f"d{n}", "text") for n in range(25)]
    documents[5] = Document("big", "text", attributes={"n": 2**53 + 1})
    seen: list[int] = []
    client = await connect(server.connection)
    summary = await client.call(
        "upsert", "notes", documents, batch_size=10, parallel=parallel, progress=seen.append
    )
    assert summary.stored_count == 21
    assert [(failure.position, failure.id) for failure in summary.failures] == [
        (3, "bad3"),
        (5, "big"),
        (13, "bad13"),
        (23, "bad23"),
    ]
    assert "send it as a string" in summary.failures[1].error.message
    assert seen == [10, 20, 25]
    assert summary.write_token == ("t" if parallel == 1 else "")


async def test_upsert_stops_at_a_call_that_fails(server: Scripted, connect: Connect) -> None:
    server.answer("UpsertDocuments", _echo_upsert, errors.NotFound("collection", "notes", "gone"))
    client = await connect(server.connection)
    seen: list[int] = []
    documents = (Document(f"d{n}", "text") for n in range(1000))
    with pytest.raises(errors.NotFound, match="gone"):
        await client.call("upsert", "notes", documents, batch_size=10, progress=seen.append)
    assert seen == [10]
    # one batch beyond those in flight was read
    assert next(documents).id == "d30"


async def test_cancelling_the_task_cancels_the_call(server: Scripted) -> None:
    server.answer("Search", errors.Overloaded("full", 5.0))
    async with AsyncClient(server.connection) as client:
        task = asyncio.ensure_future(client.search("notes", "milk"))
        await asyncio.to_thread(server.called.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def test_a_bare_status_of_a_proxy_is_understood(server: Scripted) -> None:
    server.answer("Search", grpc.StatusCode.UNIMPLEMENTED)
    with Client(server.connection) as client, pytest.raises(errors.Unsupported):
        client.search("notes", "milk")


def test_a_traceback_names_the_request(server: Scripted) -> None:
    server.answer("Search", errors.Internal("a fault"))
    with Client(server.connection) as client, pytest.raises(errors.Internal) as raised:
        client.search("notes", "milk")
    (sent,) = server.calls["Search"]
    assert raised.value.__notes__ == [f"request id: {sent['x-request-id']}"]


def test_create_with_neither_model_nor_space_is_the_servers_to_refuse(server: Scripted) -> None:
    def keep(request: bytes) -> collection_service_pb2.Collection:
        made = collection_service_pb2.CreateCollectionRequest.FromString(request).collection
        made.resolved_space.CopyFrom(made.vector_space)
        return made

    server.answer("CreateCollection", keep)
    with Client(server.connection) as client:
        assert client.create_collection("notes", space=VectorSpace(8)).space == VectorSpace(8)
        assert client.create_collection("notes").model == ""


@pytest.mark.parametrize("caller", ["with space", "ü", "x" * 129])
def test_a_caller_that_cannot_travel_is_refused(caller: str) -> None:
    with pytest.raises(errors.InvalidRequest, match="caller: must be at most 128"):
        Connection(caller=caller)
