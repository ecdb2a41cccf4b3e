"""A PostgreSQL server for tests: in a temporary folder, on a loopback port, ended with them."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tests.mesh import free_addresses, wait_for
from tests.tethered import TetheredProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

SUPERUSER = "admin"
OWNER = "searchmesh"
"""Whose databases the tests' are; an ordinary user, as limits do not hold for others."""

UNPRIVILEGED = "postgres", "nobody"
"""Who may run the server where the tests run as root, which it refuses."""

# words, not bytes: the journal must not depend on how a database orders texts
INITDB = "--encoding=UTF8 --locale-provider=icu --icu-locale=en --locale=C.UTF-8 --auth=trust"
# a process that is killed loses nothing that it wrote, so the tests need not wait for the disk
OPTIONS = "-c fsync=off -c shared_buffers=32MB -c max_connections=60 -c unix_socket_directories="


class PostgresServer:
    """A server whose databases are gone with it."""

    def __init__(self, folder: Path) -> None:
        """folder: empty, and reachable for those who may not read what is root's."""
        self.folder = folder
        (self.address,) = free_addresses(1)
        self._process: TetheredProcess | None = None
        self._run_as = _run_as()
        self.own(folder)
        made = subprocess.run(
            [
                *(str(_binary("initdb")), *INITDB.split()),
                *(f"--username={SUPERUSER}", f"--pgdata={folder}/data"),
            ],
            check=False,
            capture_output=True,
            text=True,
            cwd=folder,
            **self._run_as,
        )
        if made.returncode:
            pytest.skip(f"initdb of PostgreSQL 15 or newer is needed: {made.stderr.strip()}")

    def start(self) -> None:
        """Start it and wait until it answers."""
        port = self.address.rpartition(":")[2]
        with (self.folder / "log").open("ab") as log:
            self._process = TetheredProcess(
                [
                    *(str(_binary("postgres")), "-D", f"{self.folder}/data"),
                    *("-h", "127.0.0.1", "-p", port, *OPTIONS.split()),
                ],
                "INT",
                log,
                cwd=self.folder,
                **self._run_as,
            )
        self._wait_until_up()

    def stop(self) -> None:
        """End it as an operator does who cannot wait: open connections are cut."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def kill(self) -> None:
        """End all of it with SIGKILL; `start` recovers it."""
        assert self._process is not None
        self._process.kill()
        self._process = None

    def standing_still(self) -> AbstractContextManager[None]:
        """While no process of it moves; its port still takes connections."""
        assert self._process is not None
        return self._process.standing_still()

    @contextmanager
    def database(self, options: str = "") -> Iterator[str]:
        """The URL of an empty database, which is dropped at the end whoever still uses it.

        options: of CREATE DATABASE.
        """
        name = f"t{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} OWNER {OWNER} {options}")
        try:
            yield f"postgresql://{OWNER}@{self.address}/{name}"
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def own(self, folder: Path) -> None:
        """Give a folder to the server's user."""
        if self._run_as:
            shutil.chown(folder, self._run_as["user"])

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement as a superuser, outside any transaction; returns its rows."""
        url = f"postgresql://{SUPERUSER}@{self.address}/{database}"
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def _wait_until_up(self) -> None:
        wait_for(self._is_up, f"PostgreSQL, whose log is {self.folder}/log")

    def _is_up(self) -> bool:
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def running_server() -> Iterator[PostgresServer]:
    """Skips the test where this machine has no PostgreSQL server."""
    if _binary("postgres") is None:
        pytest.skip("PostgreSQL's server is not installed: apt-get install postgresql")
    # pytest's own folders are closed to others than their owner
    with tempfile.TemporaryDirectory(prefix="searchmesh-postgres-") as folder:
        server = PostgresServer(Path(folder))
        try:
            server.start()
            server.execute(f"CREATE ROLE {OWNER} LOGIN")
            yield server
        finally:
            server.stop()


def _run_as() -> dict[str, Any]:
    """How the server's processes are started: as whoever runs the tests, if that is not root."""
    if os.geteuid():
        return {}
    known = {one.pw_name: one for one in pwd.getpwall()}
    for name in UNPRIVILEGED:
        if name in known:
            return {"user": name, "group": known[name].pw_gid, "extra_groups": []}
    pytest.skip("PostgreSQL refuses to run as root, and there is no other user to run it")


def _binary(program: str) -> Path | None:
    """Debian keeps the server's programs out of the PATH."""
    found = shutil.which(program)
    if found is not None:
        return Path(found)
    return max(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), default=None)
