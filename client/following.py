"""Answers followed over all the times that their stream is opened."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from searchmesh.openings import Openings

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from searchmesh.connection import Connection
    from searchmesh.rpc import Answers

Result = TypeVar("Result")


def items(
    answers: Answers[Result], connection: Connection, open_stream: Callable[..., Any]
) -> Generator[Result, None, None]:
    """Each item once. open_stream: the blocking channel's call."""
    openings = Openings(answers.rpc.service, connection, answers.timeout)
    last: Result | None = None
    while True:
        call = open_stream(answers.request(last), **openings.begin())
        try:
            for response in call:
                openings.advanced()
                for item in answers.read(response):
                    yield item
                    last = item
        except grpc.RpcError as error:
            pause = openings.pause_after(openings.translated(error))
        else:
            return
        finally:
            call.cancel()
        time.sleep(pause)


async def items_async(
    answers: Answers[Result], connection: Connection, open_stream: Callable[..., Any]
) -> AsyncGenerator[Result, None]:
    """Each item once. open_stream: the asyncio channel's call."""
    openings = Openings(answers.rpc.service, connection, answers.timeout)
    last: Result | None = None
    while True:
        call = open_stream(answers.request(last), **openings.begin())
        try:
            async for response in call:
                openings.advanced()
                for item in answers.read(response):
                    yield item
                    last = item
        except grpc.RpcError as error:
            pause = openings.pause_after(openings.translated(error))
        else:
            return
        finally:
            call.cancel()
        await asyncio.sleep(pause)
