"""A Milvus server for tests: one process with its own etcd, in a temporary folder, on free ports.

`make milvus-server` installs it; the tests that need it skip where it is not.
"""

from __future__ import annotations

import os
import re
import tempfile
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.mesh import free_addresses, wait_for
from tests.tethered import TetheredProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

INSTALLED = Path(__file__).parents[2] / "build" / "milvus-server"

START_SECONDS = 60

PLACE = r"\{\{\s*(\w+)(?:\(\w+\))?\s*(?::\s*(.*?))?\s*\}\}"
"""A place in the package's template, as {{ name(type): default }}."""

ETCD = """
name: default
data-dir: {folder}/etcd
listen-client-urls: http://{client}
advertise-client-urls: http://{client}
listen-peer-urls: http://{peer}
initial-advertise-peer-urls: http://{peer}
initial-cluster: default=http://{peer}
log-level: warn
"""
"""Without it, its etcd takes the ports 2379 and 2380."""


class MilvusServer:
    """A server whose collections are gone with its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: TetheredProcess | None = None
        etcd, etcd_peer, self._metrics, self._proxy = free_addresses(4)
        self._configure({"etcd_port": _port(etcd), "proxy_port": _port(self._proxy)})
        settings = ETCD.format(folder=folder, client=etcd, peer=etcd_peer)
        (folder / "etcd.yaml").write_text(settings)

    @property
    def uri(self) -> str:
        return f"http://{self._proxy}"

    def start(self) -> None:
        """Start it and wait until it serves, which takes some ten seconds."""
        with (self.folder / "log").open("ab") as log:
            self._process = TetheredProcess(
                [str(INSTALLED / "bin" / "milvus"), "run", "standalone"],
                "KILL",
                log,
                cwd=self.folder,
                env=self._environ(),
            )
        told = f"Milvus, whose log is {self.folder}/log"
        wait_for(self._is_healthy, told, START_SECONDS)

    def kill(self) -> None:
        """End it with SIGKILL; what it acknowledged is there after `start`."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def standing_still(self) -> AbstractContextManager[None]:
        """While it does not move; its port still takes connections."""
        assert self._process is not None
        return self._process.standing_still()

    def _configure(self, given: Mapping[str, str]) -> None:
        """Fill in the package's template; every port not given is a free one."""
        data = INSTALLED / "milvus" / "data"
        template = (data / "config.yaml.template").read_text()
        names = dict.fromkeys(re.findall(r"\{\{\s*(\w+_port)\b", template))
        ports = map(_port, free_addresses(len(names)))
        values: dict[str, str] = {
            **dict(zip(names, ports, strict=True)),
            **_folders(self.folder),
            **given,
        }

        def fill(match: re.Match[str]) -> str:
            return values.get(match[1], match[2] or "")

        configs = self.folder / "configs"
        configs.mkdir()
        (configs / "milvus.yaml").write_text(re.sub(PLACE, fill, template))
        (configs / "glog.conf").write_text((data / "glog.conf").read_text())

    def _environ(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "LD_LIBRARY_PATH": str(INSTALLED / "bin"),
            "DEPLOY_MODE": "STANDALONE",
            "METRICS_PORT": _port(self._metrics),
            "MILVUS_RUN_DIR": str(self.folder / "run"),
            "ETCD_CONFIG_PATH": str(self.folder / "etcd.yaml"),
        }

    def _is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self._metrics}/healthz", timeout=2) as answer:
                return b"OK" in answer.read()
        except OSError:
            return False


@contextmanager
def running_milvus() -> Iterator[MilvusServer]:
    """Skips the test where the server is not installed."""
    if not (INSTALLED / "bin" / "milvus").exists():
        pytest.skip("a Milvus server is not installed: make milvus-server")
    with tempfile.TemporaryDirectory(prefix="searchmesh-milvus-") as folder:
        server = MilvusServer(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.kill()


def _folders(folder: Path) -> dict[str, str]:
    return {
        "etcd_data_dir": f"{folder}/etcd",
        "etcd_log_path": f"{folder}/etcd.log",
        "etcd_log_level": "warn",
        "system_log_path": f"{folder}/logs",
        "local_storage_dir": f"{folder}/store",
        "rocksmq_data_dir": f"{folder}/rocksmq",
    }


def _port(address: str) -> str:
    return address.rpartition(":")[2]
