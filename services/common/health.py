"""What a server can do right now, by name, kept true by checks that run all the time.

    health = Health()
    health.add_check(Check(("searchmesh.search.v1.SearchService",), engine.ping))
    health.set("searchmesh.encoder.v1.EncoderService/all-minilm-l6-v2", serving=True)

A name is NOT_SERVING until something says otherwise. `""`, the process, serves from start to drain.
Draining turns every name NOT_SERVING for good.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from searchmesh_common.logs import fields

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

_log = logging.getLogger("searchmesh.health")

_RECHECK_SECONDS = 0.25

PROCESS = ""
"""The name that stands for the whole process."""


@dataclass(frozen=True, slots=True)
class Check:
    """A question that is asked again and again, and the names that its answer decides."""

    names: tuple[str, ...]

    probe: Callable[[], Awaitable[object]]
    """Returns when all is well and raises when not; what it returns is not looked at."""

    interval_seconds: float = 2.0
    """From a good answer to the next question. After a bad one it is a quarter of a second at most,
    so that what is healed serves at once."""

    timeout_seconds: float = 2.0
    """Time after which a question counts as answered with no."""


class Health:
    """The statuses of a server; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._serving: dict[str, bool] = {PROCESS: False}
        self._checks: list[Check] = []
        self._listeners: set[Callable[[], None]] = set()
        self._draining = False
        self._closed = False

    def set(self, name: str, *, serving: bool) -> None:
        """Say whether a name serves."""
        with self._lock:
            changed = self._serving.get(name) != serving
            self._serving[name] = serving
        if changed:
            _log.info("health", extra=fields(name=name, serving=serving))
            self._notify()

    def remove(self, name: str) -> None:
        """Forget a name, for example of a model that is gone."""
        with self._lock:
            self._serving.pop(name, None)
        self._notify()

    def add_check(self, check: Check) -> None:
        """Let a check decide its names from now on; to be called before the server starts."""
        self._checks.append(check)
        for name in check.names:
            self.set(name, serving=False)

    def serving(self, name: str) -> bool | None:
        """Whether a name serves; None for a name that nobody has set."""
        with self._lock:
            serving = self._serving.get(name)
            return serving if serving is None else serving and not self._draining

    @property
    def closed(self) -> bool:
        """Whether whoever watches should go away."""
        return self._closed

    def drain(self) -> None:
        """Turn every name NOT_SERVING for good."""
        self._draining = True
        self._notify()

    def close(self) -> None:
        """Let go of those who watch, so that a server need not wait for them."""
        self._closed = True
        self._notify()

    def subscribe(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every change, from whichever thread made it."""
        with self._lock:
            self._listeners.add(listener)

    def unsubscribe(self, listener: Callable[[], None]) -> None:
        """Undo `subscribe`."""
        with self._lock:
            self._listeners.discard(listener)

    @asynccontextmanager
    async def checking(self) -> AsyncIterator[None]:
        """Ask every check once, then go on asking in the background until the block ends."""
        await asyncio.gather(*(self._ask(check) for check in self._checks))
        tasks = [asyncio.create_task(self._keep_asking(check)) for check in self._checks]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep_asking(self, check: Check) -> None:
        while True:
            well = all(self._serving[name] for name in check.names)
            interval = check.interval_seconds
            await asyncio.sleep(interval if well else min(interval, _RECHECK_SECONDS))
            await self._ask(check)

    async def _ask(self, check: Check) -> None:
        try:
            async with asyncio.timeout(check.timeout_seconds):
                await check.probe()
        except Exception as error:  # noqa: BLE001 - whatever a probe meets is its answer
            self._answer(check, error)
        else:
            self._answer(check, None)

    def _answer(self, check: Check, error: Exception | None) -> None:
        if error and any(self.serving(name) for name in check.names):
            reason = str(error) or type(error).__name__
            _log.warning("health check failed", extra=fields(names=check.names, reason=reason))
        for name in check.names:
            self.set(name, serving=error is None)

    def _notify(self) -> None:
        with self._lock:
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener()
