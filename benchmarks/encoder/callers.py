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

from encoder.h2load import LoadError
from encoder.wires import ENCODE, encode_request
from searchmesh.encoder.v1 import encoder_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from encoder.wires import Lane

_DETAILS = "grpc-status-details-bin"
_RETRY_INFO = "/google.rpc.RetryInfo"
_LEAD_SECONDS = 0.2
"""Time to connect before the first call is due."""
_START_SECONDS = 60.0
"""Most time that the process takes to start, to write its requests and to tell of their fates."""


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
    """After which a closed loop begins no more calls."""
    repeats: bool = False
    """Whether a closed loop goes through the plan again and again until then."""
    lane: Lane = pb.LANE_QUERY


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
    """Works a job off in a process of its own; `with` ends it."""

    def __init__(self, job: Job) -> None:
        last = max((one.at + one.timeout for one in job.plan), default=0.0)
        self._within = job.seconds + last + _START_SECONDS
        self._process = subprocess.Popen(
            [sys.executable, "-m", "encoder.callers"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin
        self._process.stdin.write(json.dumps(asdict(job)))
        self._process.stdin.close()
        self._process.stdin = None  # so that `communicate` only reads

    def __enter__(self) -> CallersProcess:
        return self

    def __exit__(self, *_raised: object) -> None:
        self._process.kill()
        self._process.communicate()

    def report(self) -> Report:
        """Wait for its end. Raises LoadError."""
        try:
            told, _ = self._process.communicate(timeout=self._within)
        except subprocess.TimeoutExpired:
            raise LoadError(f"the callers did not end in {self._within:.0f} s") from None
        if self._process.returncode:
            raise LoadError(f"the callers ended with {self._process.returncode}")
        report = json.loads(told)
        return Report([Outcome(**one) for one in report["outcomes"]], report["cpu_seconds"])


def work_off(job: Job) -> Report:
    """`CallersProcess`, waited for. Raises LoadError."""
    with CallersProcess(job) as process:
        return process.report()


class _Callers:
    def __init__(self, job: Job, channel: grpc.aio.Channel) -> None:
        # bytes both ways: what a message costs here is not the server's
        self._call: Any = channel.unary_unary(ENCODE)
        self._bodies = [
            encode_request(texts, job.model, job.lane).SerializeToString() for texts in job.texts
        ]
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
        """The plan once, or again and again, while there is time."""
        plan, end = self._job.plan, self._start + self._job.seconds
        for planned in chain.from_iterable(repeat(plan) if self._job.repeats else (plan,)):
            if time.perf_counter() > end:
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
