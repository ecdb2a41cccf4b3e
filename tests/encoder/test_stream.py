"""Streams of requests: side by side, faults answered, bounded, and ended well when draining."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import pytest

from searchmesh.encoder.v1 import encoder_service_pb2 as pb
from searchmesh.encoder.v1 import encoder_service_pb2_grpc as pb_grpc
from searchmesh_common.errors import InvalidRequest, Unavailable
from searchmesh_encoder.stream import EncodeStream

from .serving import quick_settings, serving, texts, vectors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Caller:
    """The other side of a stream that is served without a server."""

    def __init__(self, most_at_once: int = 2) -> None:
        self.read: list[str] = []
        self.written: list[str] = []
        self.draining = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.busy = asyncio.Event()
        self._in_hand = 0
        self._most_at_once = most_at_once
        self.stream = EncodeStream(self._answer, self.draining, most_at_once)

    async def serve(self, requests: AsyncIterator[Any]) -> None:
        async with aclosing(self.stream.responses(requests)) as responses:
            async for response in responses:
                self.written.append(response.id)

    async def requests(self, count: int, then: asyncio.Event | None = None) -> AsyncIterator[Any]:
        for number in range(count):
            self.read.append(str(number))
            yield pb.EncodeStreamRequest(id=str(number))
        if then:
            await then.wait()

    async def _answer(self, request: pb.EncodeStreamRequest) -> pb.EncodeStreamResponse:
        self._in_hand += 1
        assert self._in_hand <= self._most_at_once
        if self._in_hand == self._most_at_once:
            self.busy.set()
        await self.may_answer.wait()
        self._in_hand -= 1
        if request.id == "1":
            raise InvalidRequest.of("model", "required")
        if request.id == "bug":
            raise ZeroDivisionError
        return pb.EncodeStreamResponse(id=request.id, response=pb.EncodeResponse())


async def test_reads_no_further_than_it_can_answer() -> None:
    caller = Caller(most_at_once=2)
    caller.may_answer.clear()
    serving_ = asyncio.create_task(caller.serve(caller.requests(10)))
    await caller.busy.wait()
    assert caller.read == ["0", "1"]
    caller.may_answer.set()
    await serving_
    assert sorted(caller.written) == sorted(caller.read) == [str(one) for one in range(10)]


async def test_draining_answers_what_was_read_and_ends() -> None:
    caller = Caller()
    caller.may_answer.clear()
    never = asyncio.Event()
    serving_ = asyncio.create_task(caller.serve(caller.requests(2, then=never)))
    await caller.busy.wait()
    caller.draining.set()
    caller.may_answer.set()
    with pytest.raises(Unavailable, match="draining"):
        await serving_
    assert sorted(caller.written) == ["0", "1"]


async def test_what_the_caller_sends_amiss_ends_the_stream_with_its_own_error() -> None:
    async def requests() -> AsyncIterator[Any]:
        yield pb.EncodeStreamRequest(id="0")
        raise InvalidRequest.of("", "does not parse")

    with pytest.raises(InvalidRequest, match="does not parse"):
        await Caller().serve(requests())


async def test_a_fault_of_ours_ends_the_stream_as_it_is() -> None:
    async def requests() -> AsyncIterator[Any]:
        yield pb.EncodeStreamRequest(id="bug")

    with pytest.raises(ZeroDivisionError):
        await Caller().serve(requests())


def message(name: str, request: pb.EncodeRequest) -> pb.EncodeStreamRequest:
    return pb.EncodeStreamRequest(id=name, request=request)


async def test_over_the_wire(tiny_cards: Path, tiny_home: Path) -> None:
    sent = [message(str(number), texts("a" * (1 + number % 20))) for number in range(100)]
    sent += [
        message("no contents", texts()),
        message("unknown", texts("a", model="big")),
        message("", texts("a")),
        pb.EncodeStreamRequest(id="nothing"),
        message("empty text", texts("")),
        message("last", texts("a")),
    ]
    async with serving(quick_settings(tiny_home, tiny_cards)) as served:
        answers = [one async for one in served.encoder.EncodeStream(iter(sent))]
        by_id = {answer.id: answer for answer in answers}
        assert len(by_id) == len(sent)
        for one in sent[:100:10]:
            alone = await served.encoder.Encode(one.request)
            streamed = by_id[one.id].response
            assert np.array_equal(vectors(streamed)[0], vectors(alone)[0])
    codes = {name: answer.error.code for name, answer in by_id.items() if answer.error.code}
    invalid, not_found = 3, 5
    assert codes == {"no contents": invalid, "unknown": not_found, "": invalid, "nothing": invalid}
    assert by_id["no contents"].error.message == "request.contents: 0 given, at least 1"
    assert by_id["empty text"].response.embeddings[0].error.code == invalid


async def test_a_stream_that_is_open_when_the_server_drains_ends_unavailable(
    tiny_cards: Path, tiny_home: Path
) -> None:
    async with AsyncExitStack() as after_the_server:
        async with serving(quick_settings(tiny_home, tiny_cards)) as served:
            address = f"127.0.0.1:{served.ports.grpc}"
            channel = grpc.aio.insecure_channel(address)
            await after_the_server.enter_async_context(channel)
            stub: Any = pb_grpc.EncoderServiceStub(channel)
            stream = stub.EncodeStream()
            await stream.write(message("1", texts("a")))
            assert (await stream.read()).id == "1"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "draining" in (caught.value.details() or "")


async def test_a_caller_who_goes_away_leaves_nothing_behind(
    tiny_cards: Path, tiny_home: Path
) -> None:
    async with serving(quick_settings(tiny_home, tiny_cards)) as served:
        watching = set(served.server._open_calls._streams)
        stream = served.encoder.EncodeStream()
        await stream.write(message("1", texts("a")))
        await stream.read()
        assert served.server._open_calls._streams - watching
        stream.cancel()
        for _ in range(1000):
            if not served.server._open_calls._streams - watching:
                break
            await asyncio.sleep(0.01)
        else:
            pytest.fail("the stream is still open")
        await served.encoder.Encode(texts("a"))
