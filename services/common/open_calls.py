"""The calls that a server has begun, and what becomes of them when it stops."""

from __future__ import annotations

import asyncio
from typing import Protocol

_SETTLE_SECONDS = 0.01
_SETTLE_ROUNDS = 20
"""Callers that never pause keep a server from stopping for at most 0.2 s."""


class OpenCall(Protocol):
    """What is asked of a call that is still open."""

    def end_for_draining(self) -> None:
        """End it with UNAVAILABLE."""


class OpenCalls:
    """Keeps track of every call between its first message and its answer."""

    def __init__(self) -> None:
        self._streams: set[OpenCall] = set()
        self._begun = 0
        self._answering = asyncio.Event()
        self._answering.set()

    def begin(self, call: OpenCall, *, is_stream: bool) -> None:
        """Take note of a call."""
        self._begun += 1
        if is_stream:
            self._streams.add(call)

    def end(self, call: OpenCall) -> None:
        """Forget a call."""
        self._streams.discard(call)

    async def may_answer(self) -> None:
        """Wait while answers are held back."""
        if not self._answering.is_set():
            await self._answering.wait()

    async def settle(self) -> None:
        """Hold back all answers until no further call comes in; `release` ends it.

        A server that stops cancels the calls that it has received and not yet begun
        (github.com/grpc/grpc/issues/41785). Callers that wait for an answer send nothing more
        meanwhile, so the server gets to begin all that it has received.
        """
        self._answering.clear()
        for _ in range(_SETTLE_ROUNDS):
            begun = self._begun
            await asyncio.sleep(_SETTLE_SECONDS)
            if self._begun == begun:
                break

    def release(self) -> None:
        """Let the answers go, once the server refuses new calls."""
        self._answering.set()

    def end_streams(self) -> None:
        """End the streams that are still open, so that their clients open them elsewhere."""
        for call in tuple(self._streams):
            call.end_for_draining()
