"""CPUs are counted by what the process may use: affinity, cpuset and the quotas of its cgroups."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from searchmesh_encoder import cpus
from searchmesh_encoder.cpus import (
    AFTER_ALL_OTHERS,
    AFTER_ANSWERS,
    Cpus,
    available,
    lower_thread_priority,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

UNLIMITED = "max 100000\n"


@pytest.fixture
def eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(8)))


class System:
    """The files of a system's cgroups, laid out in a folder."""

    def __init__(self, folder: Path) -> None:
        self.process = folder / "proc"
        self.process.mkdir()
        self._folder = folder
        self._mounts: list[str] = ["22 1 0:20 / /proc rw,nosuid shared:5 - proc proc rw"]

    def mount(self, at: str, kind: str, options: str = "rw", root: str = "/") -> None:
        """Note a mount; what is in it is written by `write`."""
        where = str(self._folder / at).replace(" ", r"\040")
        self._mounts.append(f"31 23 0:28 {root} {where} rw,relatime shared:4 - {kind} x {options}")

    def write(self, file: str, text: str) -> None:
        (self._folder / file).parent.mkdir(parents=True, exist_ok=True)
        (self._folder / file).write_text(text)

    def available(self, *memberships: str) -> Cpus:
        """What a process of these cgroups may use."""
        (self.process / "cgroup").write_text("".join(f"{line}\n" for line in memberships))
        (self.process / "mountinfo").write_text("".join(f"{line}\n" for line in self._mounts))
        return available(self.process)


@pytest.fixture
def system(tmp_path: Path, eight_cpus: None) -> System:
    return System(tmp_path)


@pytest.mark.parametrize(
    ("limit", "quota", "usable"),
    [
        (UNLIMITED, None, 8),
        ("200000 100000\n", 2.0, 2),
        ("150000 100000\n", 1.5, 2),
        ("1000 100000\n", 0.01, 1),
        ("6400000 100000\n", 64.0, 8),
        ("?\n", None, 8),
    ],
)
def test_version_2(system: System, limit: str, quota: float | None, usable: int) -> None:
    system.mount("cgroup", "cgroup2")
    system.write("cgroup/cpu.max", limit)  # as a container with a namespace of its own sees it
    found = system.available("0::/")
    assert (found, found.usable) == (Cpus(allowed=8, quota=quota), usable)


@pytest.mark.parametrize(("limit", "quota"), [("-1\n", None), ("300000\n", 3.0)])
def test_version_1(system: System, limit: str, quota: float | None) -> None:
    system.mount("cgroup/cpu,cpuacct", "cgroup", "rw,cpu,cpuacct")
    system.write("cgroup/cpu,cpuacct/pod/cpu.cfs_quota_us", limit)
    system.write("cgroup/cpu,cpuacct/pod/cpu.cfs_period_us", "100000\n")
    found = system.available("5:memory:/elsewhere", "4:cpu,cpuacct:/pod", "0::/")
    assert found == Cpus(allowed=8, quota=quota)


@pytest.mark.parametrize(
    ("outer", "inner", "quota"),
    [
        ("300000 100000\n", UNLIMITED, 3.0),
        ("300000 100000\n", "500000 100000\n", 3.0),
        ("300000 100000\n", "50000 50000\n", 1.0),
        (UNLIMITED, UNLIMITED, None),
    ],
)
def test_the_narrowest_of_all_levels_binds(
    system: System, outer: str, inner: str, quota: float | None
) -> None:
    system.mount("the cgroups", "cgroup2")
    system.write("the cgroups/a/cpu.max", outer)
    system.write("the cgroups/a/b/c/cpu.max", inner)
    assert system.available("0::/a/b/c").quota == quota


def test_both_versions_at_once(system: System) -> None:
    system.mount("cgroup/cpu", "cgroup", "rw,cpu")
    system.mount("cgroup/unified", "cgroup2")
    system.write("cgroup/cpu/a/cpu.cfs_quota_us", "400000\n")
    system.write("cgroup/cpu/a/cpu.cfs_period_us", "100000\n")
    system.write("cgroup/unified/b/cgroup.procs", "")
    assert system.available("1:cpu:/a", "0::/b").quota == 4.0


@pytest.mark.parametrize(
    ("root", "path"),
    [
        ("/docker/abc", "/docker/abc"),  # shown from the container's own cgroup on
        ("/docker/abc", "/"),  # the path is of a namespace that the mount is not of
        ("/", "/../other"),
        ("/../..", "/docker/abc"),
    ],
)
def test_a_container_that_sees_its_own_cgroup_as_the_top(
    system: System, root: str, path: str
) -> None:
    system.mount("cgroup", "cgroup2", root=root)
    system.write("cgroup/cpu.max", "200000 100000\n")
    assert system.available(f"0::{path}").quota == 2.0


def test_a_system_without_cgroups(tmp_path: Path, eight_cpus: None) -> None:
    assert available(tmp_path / "nothing") == Cpus(allowed=8, quota=None)


# What real processes see

CHILD = """
import pathlib, sys
from searchmesh_encoder.cpus import available
for procs in sys.argv[1:]:
    pathlib.Path(procs).write_text("0")
found = available()
print((found.allowed, found.quota))
"""


def seen_from(*cgroups: Path) -> Cpus:
    """What a process sees that has joined these cgroups."""
    procs = [str(cgroup / "cgroup.procs") for cgroup in cgroups]
    arguments = (sys.executable, "-c", CHILD, *procs)
    output = subprocess.run(arguments, check=True, capture_output=True, timeout=60).stdout
    return Cpus(*ast.literal_eval(output.decode()))


@contextmanager
def real_cgroup(folder: Path, **limits: str) -> Iterator[Path]:
    """A cgroup with these limits, or a skip where it cannot be made; gone when the block ends."""
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    try:
        for name, value in limits.items():
            limit = folder / name.replace("__", ".", 1)
            if not limit.exists():
                pytest.skip(f"the cgroups at {folder.parent} have no {limit.name}")
            limit.write_text(value)
        yield folder
    finally:
        folder.rmdir()


def own_cgroup(controller: str) -> Path:
    """This process's cgroup in the hierarchy of a controller; "" for version 2."""
    paths = dict(cpus._memberships(Path("/proc/self")))
    for kind, root, mount in cpus._mounts(Path("/proc/self")):
        if kind == controller:
            return next(cpus._upwards(mount, root, paths[controller]))
    pytest.skip(f"no cgroups of {controller or 'version 2'} are mounted")


@pytest.mark.parametrize(
    ("controller", "limits"),
    [
        ("cpu", {"cpu__cfs_period_us": "100000", "cpu__cfs_quota_us": "50000"}),
        ("", {"cpu__max": "50000 100000"}),
    ],
)
def test_a_quota_above_a_real_cgroup(controller: str, limits: dict[str, str]) -> None:
    outside = available()
    parent = own_cgroup(controller) / f"searchmesh-test-{os.getpid()}"
    with real_cgroup(parent, **limits), real_cgroup(parent / "inner") as inner:
        found = seen_from(inner)
    assert found == Cpus(allowed=outside.allowed, quota=0.5)
    assert found.usable == 1


@pytest.mark.parametrize("version", [1, 2])
def test_a_real_cpuset(version: int) -> None:
    above = Path("/sys/fs/cgroup/cpuset") if version == 1 else own_cgroup("")
    folder = above / f"searchmesh-test-{os.getpid()}"
    first = str(min(os.sched_getaffinity(0)))
    with real_cgroup(folder, cpuset__cpus=first, cpuset__mems="0") as cgroup:
        assert seen_from(cgroup).allowed == 1


def test_a_real_affinity() -> None:
    last = max(os.sched_getaffinity(0))
    with ThreadPoolExecutor(1) as thread:  # a child inherits the affinity of the starting thread
        thread.submit(os.sched_setaffinity, 0, {last}).result()
        found = thread.submit(seen_from).result()
    assert (found.allowed, found.usable) == (1, 1)


# Who gives way


def test_one_thread_alone_gives_way() -> None:
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    seen = []

    def lowered() -> None:
        lower_thread_priority(AFTER_ALL_OTHERS)
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    thread = threading.Thread(target=lowered)
    thread.start()
    thread.join()
    assert seen == [19]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


def test_where_priorities_cannot_be_lowered_it_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def forbidden(*_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "setpriority", forbidden)
    cpus._say_that_priority_stays.cache_clear()
    lower_thread_priority(AFTER_ANSWERS)
    lower_thread_priority(AFTER_ALL_OTHERS)
    (record,) = caplog.records
    assert record.getMessage() == "threads keep their priority"
