"""Both services as processes on this machine, for `searchmesh up`, examples and experiments.

with LocalMesh(Path(".searchmesh")) as mesh:
    mesh.start()
    mesh.wait_until_serving()
"""

from __future__ import annotations

import enum
import os
import socket
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from searchmesh.child import ChildProcess
from searchmesh.client import Client
from searchmesh.connection import Connection, Service
from searchmesh.errors import ServiceError, Unreachable
from searchmesh.home_lock import HomeInUseError, HomeLock
from searchmesh.results import Health
from searchmesh.retries import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

_MOST_PORT = 65_535
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_POLL_SECONDS = 0.1
_PROBE_TIMEOUT_SECONDS = 2.0


class LocalMeshError(Exception):
    """The mesh cannot run on this machine; the message says why and what to do."""


class State(enum.StrEnum):
    """How a service is, as seen from here."""

    STARTING = "starting"
    """Nothing answers yet."""
    NOT_SERVING = "not serving yet"
    """It answers that it is not ready."""
    SERVING = "serving"


@dataclass(frozen=True, slots=True)
class _Program:
    """How a service is started and asked how it is."""

    module: str
    prefix: str
    """Of its environment variables."""
    health_name: str
    default_port: int


_PROGRAMS = {
    Service.ENCODER: _Program(
        "searchmesh_encoder", "ENCODER_", "searchmesh.encoder.v1.EncoderService", 50051
    ),
    Service.SEARCH: _Program(
        "searchmesh_search", "SEARCH_", "searchmesh.search.v1.SearchService", 50052
    ),
}


class LocalMesh:
    """Starts the services that do not run yet, and stops those that it started.

    What it starts ends with this process, however this process ends. Logs: `logs/encoder.log` and
    `logs/search.log` in the home folder.
    """

    def __init__(self, home: Path, connection: Connection | None = None) -> None:
        """home: the folder for all state, made where it is missing.

        connection: the addresses to serve at, which must be of this machine.
        """
        self.home = home.absolute()
        self.connection = connection or Connection()
        self._children: dict[Service, ChildProcess] = {}
        self._lock: HomeLock | None = None
        self._client = Client(
            replace(
                self.connection,
                timeout=_PROBE_TIMEOUT_SECONDS,
                retries=RetryPolicy(most_attempts=1),
            )
        )

    def __enter__(self) -> LocalMesh:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def started(self) -> Mapping[Service, ChildProcess]:
        """The services that run as children of this process."""
        return self._children

    def start(self) -> None:
        """Start each service that does not run yet; does not wait until it serves.

        A service that runs already is used as it is, whatever its home.
        Raises LocalMeshError where another program has the port, or another process the home.
        """
        addresses = {service: _split(self.connection.address(service)) for service in Service}
        missing = [service for service in Service if not self._is_running(service)]
        if missing:
            # a mesh that runs in this home at other ports must not lose its logs to this one
            self._take_home()
        for service in missing:
            _check_port(service, *addresses[service])
        for service in missing:
            self._children[service] = ChildProcess(
                service,
                _PROGRAMS[service].module,
                self._environ(service),
                self.home / "logs" / f"{service}.log",
            )

    def wait_until_serving(
        self,
        timeout: float = 600.0,
        on_change: Callable[[Mapping[Service, State]], None] | None = None,
    ) -> None:
        """Wait until both services serve; on a first start the encoder builds its model meanwhile.

        timeout: seconds. on_change: called about ten times a second with how each service is.
        Raises LocalMeshError where a service ended, or the time is over.
        """
        deadline = time.monotonic() + timeout
        while True:
            states = self.states()
            if on_change:
                on_change(states)
            if set(states.values()) == {State.SERVING}:
                return
            self.check()
            if time.monotonic() >= deadline:
                raise LocalMeshError(self._too_slow(states, timeout))
            time.sleep(_POLL_SECONDS)

    def states(self) -> dict[Service, State]:
        """How each service is now."""
        return {service: self._state(service) for service in Service}

    def check(self) -> None:
        """Raise LocalMeshError where a service that was started here has ended."""
        for child in self._children.values():
            if child.exit_code is not None:
                raise LocalMeshError(
                    f"the {child.name} service ended with {_ending(child.exit_code)}."
                    f" The end of {child.log_file}:\n" + "\n".join(child.last_lines())
                )

    def stop(self, grace_seconds: float = 20.0) -> None:
        """Stop what was started, search before the encoder that it calls.

        grace_seconds: for calls in flight; what takes longer is ended by force.
        """
        for service in (Service.SEARCH, Service.ENCODER):
            child = self._children.pop(service, None)
            if child:
                child.stop(grace_seconds)
        if self._lock:
            self._lock.release()
            self._lock = None
        self._client.close()

    def _take_home(self) -> None:
        if self._lock:
            return
        try:
            self._lock = HomeLock(self.home)
        except HomeInUseError as error:
            raise LocalMeshError(
                f"{error}, which started a mesh there at other addresses or is just starting it:"
                " use that one, stop it, or choose another folder with --home"
            ) from error

    def _is_running(self, service: Service) -> bool:
        """Whether the service itself answers at its address, ready or not."""
        try:
            self._client.health(service, _PROGRAMS[service].health_name)
        except ServiceError:
            return False
        return True

    def _state(self, service: Service) -> State:
        # gRPC waits ever longer between its attempts to connect; a look at the port does not
        if not _listens(*_split(self.connection.address(service))):
            return State.STARTING
        try:
            health = self._client.health(service, _PROGRAMS[service].health_name)
        except Unreachable:
            return State.STARTING
        except ServiceError:
            return State.NOT_SERVING
        return State.SERVING if health is Health.SERVING else State.NOT_SERVING

    def _environ(self, service: Service) -> dict[str, str]:
        """This process's environment, and in it what the service must know."""
        program = _PROGRAMS[service]
        host, port = _split(self.connection.address(service))
        defaults = {"DRAIN_SECONDS": "0"}
        if port != program.default_port:
            # a second mesh on this machine must not want the first one's other ports
            defaults |= {"METRICS_LISTEN": "127.0.0.1:0", "HEALTH_LISTEN": "127.0.0.1:0"}
        fixed = {"LISTEN": _join(host, port)}
        if service is Service.SEARCH:
            fixed["ENCODER"] = _join(*_split(self.connection.encoder))
        return {
            **_prefixed(program.prefix, defaults),
            **os.environ,
            **_prefixed(program.prefix, fixed),
            "SEARCHMESH_HOME": str(self.home),
        }

    def _too_slow(self, states: Mapping[Service, State], timeout: float) -> str:
        slow = [f"{name} is {state}" for name, state in states.items() if state != State.SERVING]
        return (
            f"after {timeout:g} s the {' and the '.join(slow)}; its log is in {self.home / 'logs'}"
        )


def is_free(address: str) -> bool:
    """Whether an address is of this machine and nothing listens there."""
    try:
        return not _listens(*_split(address))
    except LocalMeshError:
        return False


def _split(address: str) -> tuple[str, int]:
    """Host and port of an address on this machine; `localhost` is 127.0.0.1."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if host not in _LOOPBACK or not port.isdecimal() or int(port) > _MOST_PORT:
        raise LocalMeshError(
            f"{address} is not on this machine: services are started at localhost:PORT"
        )
    return ("127.0.0.1" if host == "localhost" else host), int(port)


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _prefixed(prefix: str, variables: Mapping[str, str]) -> dict[str, str]:
    return {prefix + name: value for name, value in variables.items()}


def _listens(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.settimeout(_PROBE_TIMEOUT_SECONDS)
        return probe.connect_ex((host, port)) == 0


def _check_port(service: Service, host: str, port: int) -> None:
    if _listens(host, port):
        raise LocalMeshError(
            f"port {port} of the {service} service is taken by another program:"
            f" stop that, or choose another port with --{service} localhost:PORT"
        )


def _ending(exit_code: int) -> str:
    return f"signal {-exit_code}" if exit_code < 0 else f"exit code {exit_code}"
