"""What surrounds a call costs: server CPU of a call that does no work, on our stack and without.

    python benchmarks/echo.py [--calls N] [--rounds N] [--callers N ...] [--json FILE]

Both servers answer the same Encode request, one short text, with the same ready response, one
vector of 384 components, each in a process of its own:

- bare: grpc.aio with the generated stubs and nothing else;
- ours: `searchmesh_common.server.Server`, with validation, deadlines, metrics, request ids and the
  log line of every call, written as JSON to a file;
- refusing: ours again, which refuses every call as it does under overload, RetryInfo included.

Rounds alternate between them; figures are medians over rounds. CPU-seconds are the whole server
process's, user and system, of all its threads.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import uvloop

from searchmesh.encoder.v1 import encoder_service_pb2 as pb
from searchmesh.encoder.v1 import encoder_service_pb2_grpc as pb_grpc
from searchmesh.type.v1 import content_pb2, vector_pb2
from searchmesh_common import logs
from searchmesh_common.errors import Overloaded
from searchmesh_common.metrics import new_registry
from searchmesh_common.server import Server
from searchmesh_common.server_settings import LogFormat, LogLevel, ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

STACKS = ("bare", "ours", "refusing")
SERVICE = pb.DESCRIPTOR.services_by_name["EncoderService"].full_name

REQUEST = pb.EncodeRequest(
    model="all-minilm-l6-v2",
    contents=[content_pb2.Content(text="what is a vector database")],
)
RESPONSE = pb.EncodeResponse(
    model="all-minilm-l6-v2",
    dimension=384,
    embeddings=[pb.Embedding(vector=vector_pb2.Vector(float32_le=bytes(384 * 4)), tokens=7)],
)

_DEADLINE_SECONDS = 30

_LOOPS = {
    "bare": asyncio.new_event_loop,
    "ours": uvloop.new_event_loop,
    "refusing": uvloop.new_event_loop,
}


class EchoServicer(pb_grpc.EncoderServiceServicer):
    """Answers at once, or refuses; the other rpcs are not called."""

    def __init__(self, *, refuses: bool = False) -> None:
        self._refuses = refuses

    async def Encode(self, _request: pb.EncodeRequest, _context: Any) -> pb.EncodeResponse:
        if self._refuses:
            raise Overloaded("40960 tokens are waiting, at most 40000", retry_after_seconds=1.5)
        return RESPONSE


async def serve(stack: str) -> None:
    """Serve on a free port, which is printed, until standard input ends."""
    if stack == "bare":
        bare = grpc.aio.server()
        pb_grpc.add_EncoderServiceServicer_to_server(_servicer(stack), bare)
        port = bare.add_insecure_port("127.0.0.1:0")
        await bare.start()
        await _wait_for_the_end(port)
        await bare.stop(None)
    else:
        settings = ServerSettings(drain_seconds=0)
        logs.configure(LogLevel.INFO, LogFormat.JSON)
        server = Server(settings, new_registry("echo"))
        server.add(pb_grpc.add_EncoderServiceServicer_to_server, _servicer(stack), SERVICE)
        async with server:
            await _wait_for_the_end(server.ports.grpc)


def _servicer(stack: str) -> EchoServicer:
    return EchoServicer(refuses=stack == "refusing")  # type: ignore[abstract]


async def _wait_for_the_end(port: int) -> None:
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)


@dataclass(frozen=True)
class EchoServer:
    """A server in a process of its own."""

    process: int
    port: int

    def cpu_seconds(self) -> float:
        """CPU time that the process has used, to the nanosecond."""
        # the clock of another process, as clock_getcpuclockid(3) names it
        return time.clock_gettime((~self.process << 3) | 2)


@contextmanager
def echo_server(stack: str, log: Path) -> Iterator[EchoServer]:
    """Started when the block begins and gone when it ends. stack: one of STACKS."""
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, __file__, "--serve", stack],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
    with process:
        try:
            assert process.stdout
            assert process.stdin
            yield EchoServer(process.pid, int(process.stdout.readline()))
            process.stdin.close()
            process.wait(10)
        finally:
            process.kill()


@dataclass(frozen=True)
class Round:
    """Calls of one round, by all callers together."""

    server_cpu_microseconds: float
    """Of the server's process, a call."""

    milliseconds: float
    """Median time of a call."""

    calls_per_second: float


async def one_round(server: EchoServer, calls: int, callers: int) -> Round:
    """Make so many calls, each caller one after another."""
    times: list[float] = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub: Any = pb_grpc.EncoderServiceStub(channel)

        async def call(count: int) -> None:
            for _ in range(count):
                began = time.perf_counter()
                with suppress(grpc.aio.AioRpcError):  # refused, where that is what is measured
                    await stub.Encode(REQUEST, timeout=_DEADLINE_SECONDS)
                times.append(time.perf_counter() - began)

        await asyncio.gather(*(call(8) for _ in range(callers)))  # connects and warms up
        times.clear()
        started, cpu = time.perf_counter(), server.cpu_seconds()
        await asyncio.gather(*(call(calls // callers) for _ in range(callers)))
        cpu, seconds = server.cpu_seconds() - cpu, time.perf_counter() - started
    return Round(
        server_cpu_microseconds=cpu / len(times) * 1e6,
        milliseconds=statistics.median(times) * 1e3,
        calls_per_second=len(times) / seconds,
    )


def median_round(rounds: list[Round]) -> Round:
    """Each figure's median."""
    figures = zip(*(asdict(one).values() for one in rounds), strict=True)
    return Round(*(statistics.median(figure) for figure in figures))


def main() -> int:
    """Serve, or measure and print."""
    arguments = _arguments()
    if arguments.serve:
        with asyncio.Runner(loop_factory=_LOOPS[arguments.serve]) as runner:
            runner.run(serve(arguments.serve))
        return 0
    found: dict[int, dict[str, Round]] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        servers = {
            stack: running.enter_context(echo_server(stack, Path(folder) / f"{stack}.log"))
            for stack in STACKS
        }
        for callers in arguments.callers:
            rounds: dict[str, list[Round]] = {stack: [] for stack in STACKS}
            for _ in range(arguments.rounds):
                for stack in STACKS:
                    one = asyncio.run(one_round(servers[stack], arguments.calls, callers))
                    rounds[stack].append(one)
            found[callers] = {stack: median_round(rounds[stack]) for stack in STACKS}
            _print(callers, found[callers])
    if arguments.json:
        figures = {
            callers: {stack: asdict(one) for stack, one in by_stack.items()}
            for callers, by_stack in found.items()
        }
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def _print(callers: int, found: dict[str, Round]) -> None:
    for stack, one in found.items():
        print(
            f"{callers:3} callers  {stack:8} {one.server_cpu_microseconds:6.0f} us of server CPU, "
            f"{one.milliseconds:6.3f} ms p50, {one.calls_per_second:5.0f} calls/s"
        )
        if stack != "bare":
            added = one.server_cpu_microseconds - found["bare"].server_cpu_microseconds
            print(f"{callers:3} callers  {stack:8} adds {added:+.0f} us to bare", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=2000, help="calls a round (default: 2000)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each (default: 7)")
    parser.add_argument(
        "--callers", type=int, nargs="+", default=[1, 32], help="at a time (default: 1 32)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    parser.add_argument("--serve", choices=STACKS, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
