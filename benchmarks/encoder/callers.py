"""Callers that see what became of each call: its status, its RetryInfo, its latency.

    python -m encoder.callers < JOB

A process of its own, for loads of few and large calls; it costs more CPU than h2load. Latency
counts from when a call should have begun, so that a late caller cannot flatter the server.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

import grpc
from google.rpc import status_pb2

from encoder.wires import ENCODE, encode_request

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_DETAILS = "grpc-status-details-bin"
_RETRY_INFO = "/google.rpc.RetryInfo"
_LEAD_SECONDS = 0.2
"""Time to connect before the first call is due."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One call."""

    texts: int
    """Which of the job's lists of texts it brings."""
    at: float
    """When it begins, in seconds from the start; of a closed loop, as soon as a caller is free."""
    timeout: float
    """Seconds from then to its deadline."""


@dataclass(frozen=True, slots=True)
class Job:
    """Calls of one model."""

    address: str
    model: str
    texts: Sequence[Sequence[str]]
    plan: Sequence[Planned]
    callers: int = 0
    """Of a closed loop, which goes through the plan at their pace; 0: an open one."""
    seconds: float = 0.0
    """After which a closed loop begins no more calls; it goes through the plan again until
    then. 0: it goes through the plan once."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call."""

    texts: int
    ended: float
    """Seconds from the start."""
    latency: float
    """Seconds from when it should have begun."""
    code: str
    """Name of its status."""
    has_retry_info: bool


@dataclass(frozen=True, slots=True)
class Report:
    """What became of all calls."""

    outcomes: Sequence[Outcome]
    cpu_seconds: float
    """Of the callers' process, from the first call on."""

    def of(self, code: str) -> list[Outcome]:
        """Those with a status."""
        return [one for one in self.outcomes if one.code == code]


class CallersProcess:
    """Works a job off in a process of its own."""

    def __init__(self, job: Job) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "encoder.callers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin
        self._process.stdin.write(json.dumps(asdict(job)))
        self._process.stdin.close()

    def report(self) -> Report:
        """Wait for its end."""
        assert self._process.stdout
        with self._process:
            told = json.load(self._process.stdout)
        return Report([Outcome(**one) for one in told["outcomes"]], told["cpu_seconds"])


def work_off(job: Job) -> Report:
    """`CallersProcess`, waited for."""
    return CallersProcess(job).report()


class _Callers:
    def __init__(self, job: Job, channel: grpc.aio.Channel) -> None:
        # bytes both ways: what a message costs here is not the server's
        self._call: Any = channel.unary_unary(ENCODE)
        self._bodies = [encode_request(texts, job.model).SerializeToString() for texts in job.texts]
        self._job = job
        self._start = time.perf_counter() + _LEAD_SECONDS
        self._outcomes: list[Outcome] = []

    async def run(self) -> list[Outcome]:
        await asyncio.sleep(self._start - time.perf_counter())
        if self._job.callers:
            plan = self._in_time()
            await asyncio.gather(*(self._closed(plan) for _ in range(self._job.callers)))
        else:
            await asyncio.gather(*(self._open(one) for one in self._job.plan))
        return self._outcomes

    def _in_time(self) -> Iterator[Planned]:
        """The plan once, or again and again while there is time."""
        seconds, plan = self._job.seconds, self._job.plan
        for planned in chain.from_iterable(repeat(plan) if seconds else (plan,)):
            if seconds and time.perf_counter() > self._start + seconds:
                return
            yield planned

    async def _closed(self, plan: Iterator[Planned]) -> None:
        for planned in plan:
            await self._make(planned, time.perf_counter())

    async def _open(self, planned: Planned) -> None:
        due = self._start + planned.at
        await asyncio.sleep(due - time.perf_counter())
        await self._make(planned, due)

    async def _make(self, planned: Planned, due: float) -> None:
        code, has_retry_info = "OK", False
        timeout = due + planned.timeout - time.perf_counter()
        try:
            await self._call(self._bodies[planned.texts], timeout=timeout)
        except grpc.aio.AioRpcError as error:
            code = error.code().name
            has_retry_info = _has_retry_info(error)
        ended = time.perf_counter()
        self._outcomes.append(
            Outcome(planned.texts, ended - self._start, ended - due, code, has_retry_info)
        )


def _has_retry_info(error: grpc.aio.AioRpcError) -> bool:
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS and isinstance(value, bytes):
            details = status_pb2.Status.FromString(value).details
            return any(one.type_url.endswith(_RETRY_INFO) for one in details)
    return False


async def _work_off(job: Job) -> Report:
    # a refused call is an outcome, not something to try again
    options = [("grpc.enable_retries", 0)]
    async with grpc.aio.insecure_channel(job.address, options) as channel:
        await channel.channel_ready()
        callers = _Callers(job, channel)
        cpu = time.process_time()
        outcomes = await callers.run()
        return Report(outcomes, time.process_time() - cpu)


def main() -> None:
    """Read a job, write its report."""
    told = json.load(sys.stdin)
    plan = [Planned(**one) for one in told.pop("plan")]
    report = asyncio.run(_work_off(Job(**told, plan=plan)))
    json.dump(asdict(report), sys.stdout)


if __name__ == "__main__":
    main()
