"""Whether the encoder's memory stays bounded, and its health port answers, under any mix of calls.

    python benchmarks/soak.py [--minutes N] [--warm-up-seconds N] [--models NAME,NAME] [--json FILE]

Drives an encoder in a process of its own with random texts of random lengths, in calls of random
size, lane and deadline, from as many callers as keep it saturated, one model after the other. Some
texts come again; some calls are given up half-way. Settings of the encoder are taken from the
environment, ENCODER_….

Prints resident memory at the end of the warm-up, at its largest after that and at the end, and how
long health checks took meanwhile. Exits with 1 when memory grew above 1.1 times its value after the
warm-up, or one health check in a hundred took longer than 100 ms, with any model.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import psutil
from encoder.machine import machine
from grpc_health.v1 import health_pb2, health_pb2_grpc

from searchmesh.encoder.v1 import encoder_service_pb2 as pb
from searchmesh.encoder.v1 import encoder_service_pb2_grpc as pb_grpc
from searchmesh.type.v1 import content_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_GROWTH = 1.1
MOST_HEALTH_SECONDS = 0.1

_CALLERS = 12
_REMEMBERED = 100
_SAMPLE_SECONDS = 0.05
_WARM_SECONDS = 5.0
"""At the end of the warm-up: the middle of what memory was meanwhile is what it is held to."""
_START_SECONDS = 120
_WORDS = tuple("".join(random.choices("aeioulnrstdmk", k=length)) for length in range(2, 12))


@dataclass
class Sample:
    """The encoder at one moment."""

    seconds: float
    """Since the load began."""
    resident_mib: float
    health_seconds: float
    """How long a health check took."""


@contextmanager
def encoder(home: Path, model: str) -> Iterator[tuple[psutil.Process, dict[str, int]]]:
    """An encoder that serves `model` from a process of its own, and its ports by name."""
    free = {f"ENCODER_{name}LISTEN": "127.0.0.1:0" for name in ("", "HEALTH_", "METRICS_")}
    environment = {"SEARCHMESH_HOME": str(home), "ENCODER_DEFAULT_MODEL": model}
    log = home / "encoder.log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "searchmesh_encoder"],
            env={**os.environ, **environment, **free},
            stderr=stderr,
        )
    try:
        yield psutil.Process(process.pid), _ports(process, log)
    finally:
        process.terminate()
        process.wait()


def _ports(process: subprocess.Popen[bytes], log: Path) -> dict[str, int]:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        for line in log.read_text().splitlines():
            if '"listening"' in line:
                ports: dict[str, int] = json.loads(line)
                _until_serving(ports["health"])
                return ports
        time.sleep(0.1)
    raise RuntimeError(f"the encoder does not start: {log.read_text()}")


def _until_serving(port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        while _health(channel) != health_pb2.HealthCheckResponse.SERVING:
            if time.monotonic() > deadline:
                raise RuntimeError("the model does not load")
            time.sleep(0.1)


def _health(channel: grpc.Channel) -> int:
    service = pb.DESCRIPTOR.services_by_name["EncoderService"].full_name
    stub: Any = health_pb2_grpc.HealthStub(channel)
    response = stub.Check(health_pb2.HealthCheckRequest(service=service), wait_for_ready=True)
    status: int = response.status
    return status


class Watch:
    """Samples an encoder from a thread until the block ends."""

    def __init__(self, process: psutil.Process, health_port: int) -> None:
        self.samples: list[Sample] = []
        self._process = process
        self._port = health_port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        began = time.monotonic()
        with grpc.insecure_channel(f"127.0.0.1:{self._port}") as channel:
            _health(channel)  # connects
            while not self._over.wait(_SAMPLE_SECONDS):
                asked = time.monotonic()
                _health(channel)
                answered = time.monotonic()
                memory = self._process.memory_info().rss / 2**20
                self.samples.append(Sample(answered - began, memory, answered - asked))


class Texts:
    """Texts of 1 to 300 words, short ones as likely as long ones; one in ten came before."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._before = ["the first text of all"] * _REMEMBERED

    def some(self) -> list[str]:
        """1 to 64 texts, mostly few."""
        return [self._text() for _ in range(int(64 ** self._random.random()))]

    def _text(self) -> str:
        if self._random.random() < 0.1:
            return self._random.choice(self._before)
        words = int(300 ** self._random.random())
        text = " ".join(self._random.choices(_WORDS, k=words)) + f" {self._random.random()}"
        self._before[self._random.randrange(_REMEMBERED)] = text
        return text


def load(port: int, model: str, seconds: float) -> Counter[str]:
    """Call the encoder for so long; how often each status came."""
    return asyncio.run(_load(port, model, seconds))


async def _load(port: int, model: str, seconds: float) -> Counter[str]:
    ended: Counter[str] = Counter()
    over = time.monotonic() + seconds
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = pb_grpc.EncoderServiceStub(channel)
        await asyncio.gather(*(_caller(stub, model, seed, over, ended) for seed in range(_CALLERS)))
    return ended


async def _caller(stub: Any, model: str, seed: int, over: float, ended: Counter[str]) -> None:
    texts, chance = Texts(seed), random.Random(seed)
    while time.monotonic() < over:
        request = pb.EncodeRequest(
            model=model,
            contents=[content_pb2.Content(text=text) for text in texts.some()],
            lane=chance.choice((pb.LANE_QUERY, pb.LANE_BULK)),
        )
        # one in ten gives up long before the answer
        timeout = chance.choice((0.02, *(60.0,) * 9))
        try:
            await stub.Encode(request, timeout=timeout)
            ended["OK"] += 1
        except grpc.aio.AioRpcError as error:
            ended[error.code().name] += 1
            await asyncio.sleep(0.05)


@dataclass(frozen=True)
class Figures:
    """What is printed."""

    warm_mib: float
    largest_mib: float
    end_mib: float
    growth: float
    """Largest to warm."""
    health_p50_seconds: float
    health_p99_seconds: float
    health_largest_seconds: float
    calls: dict[str, int]


def figures(samples: list[Sample], warm_up_seconds: float, calls: Counter[str]) -> Figures:
    """What the samples after the warm-up say, compared with its end."""
    after = [one for one in samples if one.seconds >= warm_up_seconds]
    warm = statistics.median(
        one.resident_mib
        for one in samples
        if warm_up_seconds - _WARM_SECONDS <= one.seconds <= warm_up_seconds
    )
    largest = max(one.resident_mib for one in after)
    health = statistics.quantiles((one.health_seconds for one in after), n=100)
    return Figures(
        warm_mib=warm,
        largest_mib=largest,
        end_mib=after[-1].resident_mib,
        growth=largest / warm,
        health_p50_seconds=health[49],
        health_p99_seconds=health[98],
        health_largest_seconds=max(one.health_seconds for one in after),
        calls=dict(calls),
    )


def main() -> int:
    """Measure, print and judge."""
    arguments = _arguments()
    found = {}
    for model in arguments.models.split(","):
        found[model] = measured(model, arguments)
        _print(model, found[model])
    if arguments.json:
        arguments.json.parent.mkdir(exist_ok=True)
        stored = {
            "machine": machine(),
            "minutes": arguments.minutes,
            "models": {model: asdict(one) for model, one in found.items()},
        }
        arguments.json.write_text(json.dumps(stored, indent=2) + "\n")
    return 0 if all(map(_is_good, found.values())) else 1


def measured(model: str, arguments: argparse.Namespace) -> Figures:
    """The figures of one model."""
    seconds = arguments.warm_up_seconds + arguments.minutes * 60
    with (
        tempfile.TemporaryDirectory() as folder,
        encoder(arguments.home or Path(folder), model) as (process, ports),
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as callers,
        Watch(process, ports["health"]) as watch,
    ):
        # in a process of its own, so that health is asked from one that has nothing else to do
        calls = callers.submit(load, ports["grpc"], model, seconds).result()
    return figures(watch.samples, arguments.warm_up_seconds, calls)


def _is_good(found: Figures) -> bool:
    return found.growth <= MOST_GROWTH and found.health_p99_seconds <= MOST_HEALTH_SECONDS


def _print(model: str, found: Figures) -> None:
    calls = ", ".join(f"{count} {code}" for code, count in sorted(found.calls.items()))
    print(
        f"{model}\n"
        f"  resident: {found.warm_mib:.0f} MiB after the warm-up, {found.largest_mib:.0f} MiB at"
        f" most ({found.growth:.3f} times that), {found.end_mib:.0f} MiB at the end\n"
        f"  health: p50 {found.health_p50_seconds:.4f} s, p99 {found.health_p99_seconds:.4f} s,"
        f" most {found.health_largest_seconds:.4f} s\n"
        f"  calls: {calls}",
        flush=True,
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10, help="after the warm-up (default: 10)")
    parser.add_argument("--warm-up-seconds", type=float, default=60, help="default: 60")
    models = "all-minilm-l6-v2,all-minilm-l6-v2-int8"
    parser.add_argument("--models", default=models, help=f"default: {models}")
    parser.add_argument("--home", type=Path, metavar="FOLDER", help="keeps built models")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
