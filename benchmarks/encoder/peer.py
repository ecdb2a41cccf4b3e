"""The servers that others would build, and the settings that each is tried at."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from encoder import wires
from encoder.environments import PEERS, environment
from encoder.processes import BENCHMARKS, ServerProcess, free_port
from encoder.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from encoder.model import ModelFiles
    from encoder.wires import Wire

_CALL_THREADS = 8
"""Calls that one worker of gunicorn has in hand at once; connections may be many more."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One point of a sweep."""

    workers: int
    """Processes that compute."""
    threads: int
    """Of one run of the graph."""
    max_batch: int = 0
    """Calls that share a batch at most; 0 where the server does not batch."""

    def __str__(self) -> str:
        batch = f", batch {self.max_batch}" if self.max_batch else ""
        return f"{self.workers} x {self.threads}{batch}"


@dataclass(frozen=True, slots=True)
class Peer:
    """A server of another make."""

    name: str
    environment: str
    """File of `peers/requirements`."""
    wire: Wire
    command: Callable[[Path, int, Setting], Sequence[str]]
    """Programs' folder, port and setting to a command line."""
    settings: Callable[[int], Sequence[Setting]]
    """CPUs to the settings of the sweep."""
    environ: Callable[[int, Setting], Mapping[str, str]] = lambda _port, _setting: {}
    """Port and setting to further environment variables."""
    prepare: Callable[[Path, Setting], None] = lambda _folder, _setting: None
    """Writes configuration into the folder that the server runs in."""

    def start(self, model: ModelFiles, setting: Setting, folder: Path) -> Target:
        """Start it and wait until it encodes. Raises ServerError."""
        folder.mkdir(parents=True)
        self.prepare(folder, setting)
        port = free_port()
        environ = {
            "PYTHONPATH": str(BENCHMARKS),
            "BENCH_GRAPH": str(model.graph),
            "BENCH_TOKENIZER": str(model.tokenizer),
            "BENCH_WORKERS": str(setting.workers),
            "BENCH_INTRA_OP_THREADS": str(setting.threads),
            "BENCH_MAX_BATCH": str(setting.max_batch),
            **self.environ(port, setting),
        }
        command = self.command(environment(self.environment), port, setting)
        process = ServerProcess(self.name, command, environ, folder / "log")
        target = Target(self.name, process, f"http://127.0.0.1:{port}", self.wire)
        try:
            process.wait_until(target.answers)
        except BaseException:
            process.stop()
            raise
        return target


def _one_thread_or_one_worker(cpus: int) -> list[Setting]:
    return [Setting(cpus, 1), Setting(2 * cpus, 1), Setting(1, cpus)]


def _batching(cpus: int) -> list[Setting]:
    return [
        *(Setting(cpus, 1, max_batch) for max_batch in (4, 8, 32)),
        Setting(1, cpus, 32),
    ]


def _prepare_mlserver(folder: Path, setting: Setting) -> None:
    model = {
        "name": "encoder",
        "implementation": "encoder.peers.mlserver_runtime.TextRuntime",
        "max_batch_size": setting.max_batch,
        "max_batch_time": 0.001,
    }
    (folder / "model-settings.json").write_text(json.dumps(model))


def _mlserver_environ(port: int, setting: Setting) -> dict[str, str]:
    return {
        "MLSERVER_HOST": "127.0.0.1",
        "MLSERVER_HTTP_PORT": str(port),
        "MLSERVER_GRPC_PORT": str(free_port()),
        "MLSERVER_METRICS_PORT": str(free_port()),
        # 0: the server's own process computes
        "MLSERVER_PARALLEL_WORKERS": str(setting.workers if setting.workers > 1 else 0),
        "MLSERVER_DEBUG": "false",
        "MLSERVER_GZIP_ENABLED": "false",
    }


PEERS_BY_NAME: Mapping[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer(
            name="FastAPI",
            environment="fastapi",
            wire=wires.JSON,
            command=lambda bin_, port, setting: [
                *(str(bin_ / "python"), "-m", "uvicorn", "encoder.peers.fastapi_uvicorn:app"),
                *("--host", "127.0.0.1", "--port", str(port), "--no-access-log"),
                *("--workers", str(setting.workers)),
            ],
            settings=_one_thread_or_one_worker,
        ),
        Peer(
            name="Flask",
            environment="flask",
            wire=wires.JSON,
            command=lambda bin_, port, setting: [
                *(str(bin_ / "python"), "-m", "gunicorn", "encoder.peers.flask_gunicorn:app"),
                *("--bind", f"127.0.0.1:{port}", "--worker-class", "gthread"),
                *("--workers", str(setting.workers), "--threads", str(_CALL_THREADS)),
                # its default closes connections that rest for 2 s
                *("--keep-alive", "60", "--timeout", "300"),
            ],
            settings=_one_thread_or_one_worker,
        ),
        Peer(
            name="MLServer",
            environment="mlserver",
            wire=wires.OPEN_INFERENCE,
            command=lambda bin_, _port, _setting: [str(bin_ / "mlserver"), "start", "."],
            settings=_batching,
            environ=_mlserver_environ,
            prepare=_prepare_mlserver,
        ),
        Peer(
            name="BentoML",
            environment="bentoml",
            wire=wires.JSON_LIST,
            command=lambda bin_, port, _setting: [
                *(str(bin_ / "bentoml"), "serve", "encoder.peers.bentoml_service:EncoderService"),
                *("--host", "127.0.0.1", "--port", str(port)),
                *("--working-dir", str(BENCHMARKS)),
            ],
            settings=_batching,
            environ=lambda _port, _setting: {"BENTOML_DO_NOT_TRACK": "True"},
        ),
        Peer(
            name="Mosec",
            environment="mosec",
            wire=wires.JSON,
            command=lambda bin_, port, _setting: [
                *(str(bin_ / "python"), str(PEERS / "mosec_server.py")),
                *("--address", "127.0.0.1", "--port", str(port), "--log-level", "warning"),
                # its default is 3 s, of which a busy machine needs more
                *("--timeout", "120000"),
            ],
            settings=_batching,
        ),
    )
}
