"""Whatever Milvus answers becomes one of our errors."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from searchmesh_common.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    NotFound,
    Overloaded,
    ServiceError,
    Unavailable,
)
from searchmesh_search.deadline import Deadline
from searchmesh_search.milvus_calls import MilvusCalls, local_channel
from searchmesh_search.milvus_stubs import common, milvus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Answer = Callable[[Any, grpc.aio.ServicerContext[Any, Any]], Awaitable[Any]]


class Peer:
    """A server that gives `HasCollection` the answer of the test."""

    def __init__(self) -> None:
        self.answer: Answer
        self.metadata: dict[str, Any] = {}

    async def has_collection(
        self, request: Any, context: grpc.aio.ServicerContext[Any, Any]
    ) -> Any:
        self.metadata = dict(context.invocation_metadata() or ())
        return await self.answer(request, context)


@pytest.fixture
async def peer() -> AsyncIterator[tuple[Peer, MilvusCalls]]:
    peer = Peer()
    handler = grpc.unary_unary_rpc_method_handler(
        peer.has_collection,
        request_deserializer=milvus.HasCollectionRequest.FromString,
        response_serializer=milvus.BoolResponse.SerializeToString,
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(
                "milvus.proto.milvus.MilvusService", {"HasCollection": handler}
            )
        ]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    calls = MilvusCalls(local_channel(f"127.0.0.1:{port}"), "root:secret")
    yield peer, calls
    await calls.close()
    await server.stop(None)


def ask(calls: MilvusCalls, seconds: float = 10.0) -> Awaitable[Any]:
    request = milvus.HasCollectionRequest(collection_name="one")
    return calls.call("HasCollection", request, Deadline.after(seconds), "one")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (100, NotFound),
        (1, Unavailable),
        (12, Unavailable),
        (101, Unavailable),
        (903, Unavailable),
        (4, Overloaded),
        (8, Overloaded),
        (1100, ServiceError),
        (5, ServiceError),
    ],
)
async def test_its_own_codes(
    peer: tuple[Peer, MilvusCalls], code: int, expected: type[ServiceError]
) -> None:
    async def answer(request: Any, context: Any) -> Any:
        return milvus.BoolResponse(status=common.Status(code=code, reason="because"))

    peer[0].answer = answer
    with pytest.raises(ServiceError) as caught:
        await ask(peer[1])
    assert type(caught.value) is expected


@pytest.mark.parametrize(
    "status",
    [
        common.Status(
            code=65535, reason="failed to spawn replica for collection[1]: nodes not enough"
        ),
        common.Status(error_code=1, reason="service resource insufficient[expected=1]"),
        common.Status(code=2100, reason="moved", retriable=True),
    ],
)
async def test_what_heals_by_itself_under_another_code(
    peer: tuple[Peer, MilvusCalls], status: Any
) -> None:
    async def answer(request: Any, context: Any) -> Any:
        return milvus.BoolResponse(status=status)

    peer[0].answer = answer
    with pytest.raises(Unavailable, match="not ready"):
        await ask(peer[1])


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (grpc.StatusCode.UNAVAILABLE, Unavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineExceeded),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Overloaded),
        (grpc.StatusCode.UNAUTHENTICATED, FailedPrecondition),
        (grpc.StatusCode.UNKNOWN, ServiceError),
    ],
)
async def test_codes_of_the_transport(
    peer: tuple[Peer, MilvusCalls], code: grpc.StatusCode, expected: type[ServiceError]
) -> None:
    async def answer(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        await context.abort(code, "because")

    peer[0].answer = answer
    with pytest.raises(ServiceError) as caught:
        await ask(peer[1])
    assert type(caught.value) is expected


async def test_credentials_go_along(peer: tuple[Peer, MilvusCalls]) -> None:
    async def answer(request: Any, context: Any) -> Any:
        return milvus.BoolResponse(value=True)

    peer[0].answer = answer
    assert (await ask(peer[1])).value
    assert peer[0].metadata["authorization"] == "cm9vdDpzZWNyZXQ="


class TestNoAnswer:
    @pytest.fixture
    def asked(self, peer: tuple[Peer, MilvusCalls]) -> asyncio.Event:
        asked = asyncio.Event()

        async def answer(request: Any, context: Any) -> Any:
            asked.set()
            await asyncio.Event().wait()

        peer[0].answer = answer
        return asked

    async def test_in_time(self, peer: tuple[Peer, MilvusCalls], asked: asyncio.Event) -> None:
        with pytest.raises(DeadlineExceeded, match="HasCollection in time"):
            await ask(peer[1], 0.1)

    async def test_before_the_channel_is_closed(
        self, peer: tuple[Peer, MilvusCalls], asked: asyncio.Event
    ) -> None:
        asking = asyncio.ensure_future(ask(peer[1]))
        await asked.wait()
        await peer[1].close()
        with pytest.raises(Unavailable):
            await asking

    async def test_before_the_caller_gave_up(
        self, peer: tuple[Peer, MilvusCalls], asked: asyncio.Event
    ) -> None:
        asking = asyncio.ensure_future(ask(peer[1]))
        await asked.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
