"""Both clients' streams of batches: against a server that breaks them as it is told."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import grpc
import numpy as np
import pytest

from searchmesh import AsyncClient, Client, Connection, RetryPolicy, StreamedResult, errors
from searchmesh.encoder.v1 import encoder_service_pb2 as pb
from searchmesh.type.v1 import vector_pb2
from searchmesh_common import status
from searchmesh_common.errors import ServiceError, Unavailable
from tests.client.both import AnyClient

Connect = Callable[[Connection], Awaitable[AnyClient]]
Requests = Iterator[pb.EncodeStreamRequest]
Opening = Callable[["Streams", Requests], Iterator[pb.EncodeStreamResponse]]


class Streams:
    """Serves each stream that is opened as it was told, the last way again and again."""

    def __init__(self, *openings: Opening) -> None:
        self.address = ""
        self.openings = list(openings)
        self.opened = 0
        self.texts: list[str] = []
        """What was asked, in order, repetitions included."""
        self.cancelled = threading.Event()

    @property
    def connection(self) -> Connection:
        return Connection(encoder=self.address, retries=RetryPolicy(most_attempts=3))

    def encode_stream(self, requests: Requests, context: Any) -> Iterator[pb.EncodeStreamResponse]:
        opening = self.openings[min(self.opened, len(self.openings) - 1)]
        self.opened += 1
        ended = threading.Event()
        context.add_callback(lambda: None if ended.is_set() else self.cancelled.set())
        try:
            yield from opening(self, self._seen(requests))
            ended.set()
        except ServiceError as error:
            proto = status.to_proto(error)
            context.set_trailing_metadata(status.trailing_metadata(proto))
            context.abort(status.code_of(error), proto.message)

    def _seen(self, requests: Requests) -> Requests:
        for request in requests:
            self.texts.append(request.request.contents[0].text)
            yield request


def answer(request: pb.EncodeStreamRequest) -> pb.EncodeStreamResponse:
    """A vector for each content: its length."""
    response = pb.EncodeStreamResponse(id=request.id)
    for content in request.request.contents:
        vector = vector_pb2.Vector(float32_le=np.array([len(content.text)], "<f4").tobytes())
        response.response.embeddings.add(vector=vector)
    return response


def refuse(request: pb.EncodeStreamRequest, error: ServiceError) -> pb.EncodeStreamResponse:
    return pb.EncodeStreamResponse(id=request.id, error=status.to_proto(error))


def all_of_it(_streams: Streams, requests: Requests) -> Iterator[pb.EncodeStreamResponse]:
    yield from map(answer, requests)


def until_it_drains(answers: int, retry_after: float = 0.01) -> Opening:
    """Answers so many, and then ends as a server does that stops."""

    def opening(_streams: Streams, requests: Requests) -> Iterator[pb.EncodeStreamResponse]:
        for _, request in zip(range(answers), requests, strict=False):
            yield answer(request)
        raise Unavailable("this server is draining; open the stream again", retry_after)

    return opening


@contextmanager
def served(*openings: Opening) -> Iterator[Streams]:
    streams = Streams(*openings)
    server = grpc.server(futures.ThreadPoolExecutor(4))
    handler = grpc.stream_stream_rpc_method_handler(
        streams.encode_stream,
        pb.EncodeStreamRequest.FromString,
        pb.EncodeStreamResponse.SerializeToString,
    )
    server.add_registered_method_handlers(
        "searchmesh.encoder.v1.EncoderService", {"EncodeStream": handler}
    )
    streams.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield streams
    finally:
        server.stop(None).wait()


def lengths(answers: list[StreamedResult]) -> dict[int, float]:
    """The first vector's only component by the batch's index; every index once."""
    assert len({one.index for one in answers}) == len(answers)
    return {one.index: one.result.vectors[0, 0] for one in answers if one.result}


BATCHES = [["a" * length, "b"] for length in range(1, 31)]
EXPECTED = {index: index + 1 for index in range(30)}


async def test_every_batch_is_answered_once(connect: Connect) -> None:
    with served(all_of_it) as streams:
        client = await connect(streams.connection)
        answers = await client.items("encode_stream", "m", iter(BATCHES))
    assert lengths(answers) == EXPECTED
    assert streams.opened == 1
    assert not streams.cancelled.is_set()


async def test_no_batches_open_no_stream(connect: Connect) -> None:
    with served(all_of_it) as streams:
        client = await connect(streams.connection)
        assert await client.items("encode_stream", "m", []) == []
        assert streams.opened == 0


async def test_a_stream_that_drains_is_opened_again(connect: Connect) -> None:
    # more often than a call may be repeated, but with answers in between
    drains = [until_it_drains(7), until_it_drains(1), until_it_drains(0), until_it_drains(5)]
    with served(*drains, until_it_drains(1), all_of_it) as streams:
        client = await connect(streams.connection)
        answers = await client.items("encode_stream", "m", BATCHES, in_flight=4)
    assert lengths(answers) == EXPECTED
    assert streams.opened == 6


async def test_a_service_that_stays_away_is_an_error(connect: Connect) -> None:
    with served(until_it_drains(2), until_it_drains(0)) as streams:
        client = await connect(streams.connection)
        with pytest.raises(errors.Unavailable, match=r"draining|ended the stream"):
            await client.items("encode_stream", "m", BATCHES)
    assert streams.opened == 3


async def test_nobody_at_the_address_is_unreachable(connect: Connect) -> None:
    with served(all_of_it) as gone:
        connection = gone.connection
    client = await connect(connection)
    with pytest.raises(errors.Unreachable):
        await client.items("encode_stream", "m", BATCHES)


async def test_a_batch_that_was_too_much_is_sent_again(connect: Connect) -> None:
    def busy_at_first(streams: Streams, requests: Requests) -> Iterator[pb.EncodeStreamResponse]:
        for request in requests:
            new = streams.texts.count(request.request.contents[0].text) < 3
            yield refuse(request, errors.Overloaded("full", 0.01)) if new else answer(request)

    with served(busy_at_first) as streams:
        client = await connect(streams.connection)
        answers = await client.items("encode_stream", "m", BATCHES[:5])
    assert lengths(answers) == {index: index + 1 for index in range(5)}
    assert len(streams.texts) == 15


async def test_faulty_batches_are_answered_with_their_errors(connect: Connect) -> None:
    def picky(_streams: Streams, requests: Requests) -> Iterator[pb.EncodeStreamResponse]:
        for request in requests:
            if request.request.contents[0].text == "aa":
                yield refuse(request, errors.InvalidRequest.of("model", "is unknown"))
            elif request.request.contents[0].text == "aaa":
                yield refuse(request, errors.Overloaded("full", 0.01))
            else:
                yield answer(request)

    with served(picky) as streams:
        client = await connect(streams.connection)
        batches = [["a"], ["aa"], ["\ud800"], ["aaa"], ["aaaa"]]
        answers = await client.items("encode_stream", "m", batches)
    assert lengths(answers) == {0: 1, 4: 4}
    failed = {one.index: str(one.error) for one in answers if one.error}
    assert failed == {
        1: "model: is unknown",
        2: "contents[0]: holds half a character (a lone surrogate)",
        3: "full",
    }
    assert streams.texts.count("aaa") == 3  # as often as the policy has it


async def test_no_more_is_on_its_way_than_may_be(connect: Connect) -> None:
    taken = answered = 0

    def batches() -> Iterator[list[str]]:
        nonlocal taken
        for batch in BATCHES:
            taken += 1
            yield batch

    def slow(_streams: Streams, requests: Requests) -> Iterator[pb.EncodeStreamResponse]:
        nonlocal answered
        for request in requests:
            assert taken - answered <= 3
            answered += 1
            yield answer(request)

    with served(slow) as streams:
        client = await connect(streams.connection)
        answers = await client.items("encode_stream", "m", batches(), in_flight=3)
    assert lengths(answers) == EXPECTED


async def test_large_batches_do_not_block_each_other(connect: Connect) -> None:
    def all_then_all(_streams: Streams, requests: Requests) -> Iterator[pb.EncodeStreamResponse]:
        read = [next(requests) for _ in range(8)]
        yield from map(answer, read)
        yield from map(answer, requests)

    with served(all_then_all) as streams:
        client = await connect(streams.connection)
        batches = [["a" * 1_000_000]] * 16
        answers = await client.items("encode_stream", "m", batches, in_flight=8)
    assert len(lengths(answers)) == 16


async def test_time_runs_out_for_all_of_it(connect: Connect) -> None:
    def never(_streams: Streams, requests: Requests) -> Iterator[pb.EncodeStreamResponse]:
        yield from (answer(request) for request in requests if not request.id)

    with served(never) as streams:
        client = await connect(replace(streams.connection, timeout=0.001))
        started = time.monotonic()
        with pytest.raises(errors.DeadlineExceeded, match=r"within 0\.3 s"):
            await client.items("encode_stream", "m", BATCHES, timeout=0.3)
        assert time.monotonic() - started >= 0.3


async def test_an_error_of_the_batches_is_the_callers(connect: Connect) -> None:
    def broken() -> Iterator[list[str]]:
        yield ["a"]
        raise ZeroDivisionError

    with served(all_of_it) as streams:
        client = await connect(streams.connection)
        with pytest.raises(ZeroDivisionError):
            await client.items("encode_stream", "m", broken())
        with pytest.raises(errors.InvalidRequest, match="in_flight: must be at least 1"):
            await client.items("encode_stream", "m", [], in_flight=0)


def test_leaving_a_blocking_stream_early_ends_it() -> None:
    with served(all_of_it) as streams, Client(streams.connection) as client:
        for _ in client.encode_stream("m", iter(BATCHES), in_flight=2):
            break
        assert streams.cancelled.wait(5)


async def test_leaving_a_stream_of_asyncio_early_ends_it() -> None:
    with served(all_of_it) as streams:
        async with AsyncClient(streams.connection) as client:
            answers: Any = client.encode_stream("m", iter(BATCHES), in_flight=2)
            await anext(answers)
            await answers.aclose()
            assert await asyncio.to_thread(streams.cancelled.wait, 5)
