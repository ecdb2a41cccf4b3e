"""What surrounds every call, over a real server, in all four arities."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from searchmesh_common import call_context, logs
from searchmesh_common.errors import InvalidRequest, NotFound, Overloaded
from searchmesh_common.status import from_rpc_error

from .echo import SERVICE, Echo, quick_settings, running

if TYPE_CHECKING:
    from searchmesh_common.contract import Contract

ARITIES = ("Echo", "Split", "Join", "Chat")


async def call(echo: Echo, method: str, *texts: str, **options: Any) -> list[str]:
    """Call any of the four rpcs and collect what comes back."""
    requests = echo.client.requests(texts)
    rpc = getattr(echo.client, method.lower())
    argument = requests[0] if method in ("Echo", "Split") else iter(requests)
    if method in ("Echo", "Join"):
        return [(await rpc(argument, **options)).text]
    return [response.text async for response in rpc(argument, **options)]


async def test_answers_in_every_arity(echo: Echo) -> None:
    assert await call(echo, "Echo", "abc") == ["abc"]
    assert await call(echo, "Split", "abc") == ["a", "b", "c"]
    assert await call(echo, "Join", "a", "b") == ["ab"]
    assert await call(echo, "Chat", "a", "b") == ["a", "b"]


@pytest.mark.parametrize("method", ARITIES)
async def test_errors_become_statuses_with_details(echo: Echo, method: str) -> None:
    async def refuse(_text: str) -> str:
        raise Overloaded("no room", retry_after_seconds=2.5)

    echo.servicer.behaviour = refuse
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(echo, method, "abc")
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    error = from_rpc_error(caught.value)
    assert isinstance(error, Overloaded)
    assert (error.message, error.retry_after_seconds) == ("no room", 2.5)


@pytest.mark.parametrize("method", ARITIES)
async def test_the_unexpected_is_internal_and_logged(
    echo: Echo, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def break_down(_text: str) -> str:
        raise RuntimeError("a secret of ours")

    echo.servicer.behaviour = break_down
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(echo, method, "abc", metadata=(("x-request-id", "r-1"),))
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert caught.value.details() == "internal error; the server's log has it as request r-1"
    (record,) = [one for one in caplog.records if one.name == "searchmesh.call"]
    assert record.levelno == logging.ERROR
    assert "a secret of ours" in logs.JsonFormatter().format(record)


@pytest.mark.parametrize("method", ["Echo", "Split"])
async def test_a_faulty_request_does_not_reach_the_servicer(echo: Echo, method: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(echo, method, "")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "text: must not be empty"
    assert not echo.servicer.entered.is_set()


async def test_300_violations_fit_into_a_status(echo: Echo) -> None:
    request = echo.client.request(text="x" * 21)
    for _ in range(300):
        request.items.add()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await echo.client.echo(request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    error = from_rpc_error(caught.value)
    assert isinstance(error, InvalidRequest)
    first, second, third, *_, last = error.violations
    assert str(first) == "text: 21 characters given, at most 20"
    assert str(second) == "items: 300 given, at most 256"
    assert str(third) == "items[0].name: must not be empty"
    named = len(error.violations) - 1
    assert last.description == f"and {302 - named} more"


async def test_a_faulty_message_does_not_end_a_stream(echo: Echo) -> None:
    assert await call(echo, "Chat", "a", "", "b") == ["a", "text: must not be empty", "b"]


async def test_bytes_that_are_no_message_are_refused(echo: Echo) -> None:
    for call in (echo.client.echo(b"\xff\xff"), echo.client.join(iter([b"\xff\xff"]))):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert caught.value.details() == (
            "the message is not what this rpc takes, or a text in it is not UTF-8"
        )


async def test_a_message_over_the_limit_is_refused(contract: Contract) -> None:
    async with running(contract, quick_settings(max_message_bytes=65536)) as echo:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(echo, "Echo", "x" * 70_000)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        error = from_rpc_error(caught.value)
        assert isinstance(error, InvalidRequest)
        assert "70004 vs. 65536" in error.message
        assert await call(echo, "Echo", "still here") == ["still here"]


async def test_counts_calls_by_status(echo: Echo) -> None:
    async def missing(text: str) -> str:
        if text == "z":
            raise NotFound("letter", "z", "there is no letter z")
        return text

    echo.servicer.behaviour = missing
    await call(echo, "Echo", "a")
    with pytest.raises(grpc.aio.AioRpcError):
        await call(echo, "Echo", "z")
    with pytest.raises(grpc.aio.AioRpcError):
        await call(echo, "Split", "az")
    unary = {"grpc_type": "unary", "grpc_service": SERVICE, "grpc_method": "Echo"}
    assert echo.counted("grpc_server_started_total", **unary) == 2
    assert echo.counted("grpc_server_handling_seconds_count", **unary) == 2
    assert ended(echo, "Echo", "OK") == 1
    assert ended(echo, "Echo", "NotFound") == 1
    assert ended(echo, "Split", "NotFound") == 1


async def test_an_unknown_rpc_is_counted_as_other(echo: Echo) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await echo.client.unknown(echo.client.request(text="a"))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    other = {"grpc_type": "unary", "grpc_service": "other", "grpc_method": "other"}
    assert echo.counted("grpc_server_started_total", **other) == 1
    assert echo.counted("grpc_server_handled_total", **other, grpc_code="Unimplemented") == 1


async def never(_text: str) -> str:
    await asyncio.Event().wait()
    raise AssertionError


async def test_the_default_deadline_ends_a_call_that_brings_none(contract: Contract) -> None:
    async with running(contract, quick_settings(default_deadline_seconds=0.05)) as echo:
        echo.servicer.behaviour = never
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(echo, "Echo", "a")
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert caught.value.details() == "no answer within the server's default of 0.05 s"
        assert echo.servicer.cancelled.is_set()
        assert ended(echo, "Echo", "DeadlineExceeded") == 1


@pytest.mark.parametrize("method", ARITIES)
async def test_the_callers_deadline_cancels_the_servicer(echo: Echo, method: str) -> None:
    echo.servicer.behaviour = never
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(echo, method, "a", timeout=0.1)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await asyncio.wait_for(echo.servicer.cancelled.wait(), 5)
    assert ended(echo, method, "DeadlineExceeded") == 1


@pytest.mark.parametrize("method", ARITIES)
async def test_cancellation_reaches_the_servicer(echo: Echo, method: str) -> None:
    echo.servicer.behaviour = never
    pending = asyncio.create_task(call(echo, method, "a"))
    await asyncio.wait_for(echo.servicer.entered.wait(), 5)
    pending.cancel()
    await asyncio.wait_for(echo.servicer.cancelled.wait(), 5)
    with pytest.raises(asyncio.CancelledError):
        await pending
    assert ended(echo, method, "Canceled") == 1


async def test_a_stream_cancelled_with_its_answers_unread_is_no_fault(
    echo: Echo, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "searchmesh.call")
    under_way = asyncio.Event()

    async def much(text: str) -> str:
        if text == "b":
            under_way.set()
        # together more than fits on the way, however far gRPC opens its window
        return text * 10_000_000

    echo.servicer.behaviour = much
    stream = echo.client.split(echo.client.request(text="ab" * 10))
    await stream.read()
    await asyncio.wait_for(under_way.wait(), 5)
    stream.cancel()
    assert await _ending(echo, "Split") == "Canceled"
    record = await _line(caplog)
    assert (record.levelno, record.exc_info) == (logging.INFO, None)


async def _line(caplog: pytest.LogCaptureFixture) -> logging.LogRecord:
    """The only line about a call, once it is written."""
    async with asyncio.timeout(5):
        while True:
            records = [one for one in caplog.records if one.name == "searchmesh.call"]
            if records:
                (record,) = records
                return record
            await asyncio.sleep(0.005)


async def test_an_answer_over_the_limit_is_no_cancellation(contract: Contract) -> None:
    async def much(text: str) -> str:
        return text * 70_000

    async with running(contract, quick_settings(max_message_bytes=65536)) as echo:
        echo.servicer.behaviour = much
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(echo, "Split", "a")
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await _ending(echo, "Split") == "Internal"


async def _ending(echo: Echo, method: str) -> str:
    """The code of the only call of a method, once it has ended."""
    async with asyncio.timeout(5):
        while True:
            for code in ("OK", "Canceled", "Internal"):
                if ended(echo, method, code):
                    return code
            await asyncio.sleep(0.01)


def ended(echo: Echo, method: str, code: str) -> float:
    """How many calls to an rpc ended with a code."""
    kinds = ("unary", "server_stream", "client_stream", "bidi_stream")
    return echo.counted(
        "grpc_server_handled_total",
        grpc_type=dict(zip(ARITIES, kinds, strict=True))[method],
        grpc_service=SERVICE,
        grpc_method=method,
        grpc_code=code,
    )


async def test_a_servicer_knows_who_calls_and_what_to_pass_on(echo: Echo) -> None:
    seen: list[tuple[tuple[str, str], ...]] = []
    remaining: list[float | None] = []

    async def look(text: str) -> str:
        seen.append(call_context.outgoing_metadata())
        remaining.append(call_context.remaining_seconds())
        return text

    echo.servicer.behaviour = look
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    sent = (
        ("x-request-id", "r-7"),
        ("searchmesh-caller", "tests"),
        ("traceparent", trace),
        ("tracestate", "vendor=1"),
    )
    request = echo.client.request(text="a")
    pending = echo.client.echo(request, metadata=sent, timeout=10)
    await pending
    assert seen == [sent]
    assert remaining[0] is not None
    assert 9 < remaining[0] < 11  # gRPC rounds the time it sends
    trailers = await pending.trailing_metadata()
    assert dict(trailers)["x-request-id"] == "r-7"


async def test_one_log_line_a_call(echo: Echo, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "searchmesh.call")
    before = time.time()
    metadata = (("searchmesh-caller", "tests"), ("x-request-id", "r-9"))
    await call(echo, "Echo", "a", metadata=metadata)
    answered = time.time()
    record = await _line(caplog)
    line = json.loads(logs.JsonFormatter().format(record))
    assert line["method"] == f"/{SERVICE}/Echo"
    assert (line["code"], line["caller"], line["level"]) == ("OK", "tests", "info")
    assert line["request_id"] == "r-9"
    assert 0 < line["milliseconds"] < 5000
    assert before <= record.created <= answered  # when the call ended, not when it was written


async def test_no_line_is_lost_when_the_server_stops(
    contract: Contract, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "searchmesh.call")
    async with running(contract) as echo:
        for number in range(40):
            await call(echo, "Echo", "a", metadata=(("x-request-id", f"r-{number}"),))
    lines = [json.loads(logs.JsonFormatter().format(one)) for one in caplog.records]
    written = [line["request_id"] for line in lines if line["logger"] == "searchmesh.call"]
    assert written == [f"r-{number}" for number in range(40)]
