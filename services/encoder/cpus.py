"""How many CPUs this process may really use, and who gives way to whom on them."""

from __future__ import annotations

import logging
import math
import os
import re
import sys
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from searchmesh_common.logs import fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_log = logging.getLogger("searchmesh.encoder")

AFTER_ANSWERS = 4
"""Niceness of who computes for somebody who waits: what came meanwhile is read first, so that it
can share the next batch, and what is done is sent."""

AFTER_ALL_OTHERS = 19
"""Niceness of who computes for nobody who waits."""


@dataclass(frozen=True, slots=True)
class Cpus:
    """The CPUs that a process may run on, and how much of their time it gets."""

    allowed: int
    """CPUs that its threads may run on, by affinity; the kernel keeps that within the cpuset."""

    quota: float | None
    """CPU-seconds a second that its cgroups allow at most; None without a limit."""

    @property
    def usable(self) -> int:
        """Threads that can make progress side by side, at least 1.

        A container with a limit of 2 CPUs on a machine of 64 gets 2; `os.cpu_count()` would say 64.
        """
        return max(1, min(self.allowed, math.ceil(self.quota or self.allowed)))


def available(process: Path = Path("/proc/self")) -> Cpus:
    """What this process may use. process: its folder in /proc."""
    quotas = [quota for folder, read in _cgroups(process) if (quota := read(folder)) is not None]
    return Cpus(allowed=_allowed(), quota=min(quotas, default=None))


def available_cpus() -> int:
    """`available().usable`."""
    return available().usable


def lower_thread_priority(niceness: int) -> None:
    """Let the calling thread give way to others that are ready to run, for good.

    Linux alone keeps a niceness for each thread. Elsewhere it is the whole process's, whose urgent
    threads must not be slowed down, so nothing is done.
    """
    if sys.platform != "linux":
        return
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
    except OSError as error:
        _say_that_priority_stays(str(error))


@cache
def _say_that_priority_stays(reason: str) -> None:
    _log.warning("threads keep their priority", extra=fields(reason=reason))


def _allowed() -> int:
    if sys.platform != "linux":
        return os.cpu_count() or 1
    return len(os.sched_getaffinity(0))


def _cgroups(process: Path) -> Iterator[tuple[Path, Callable[[Path], float | None]]]:
    """Each cgroup that limits a process, its own and those above, and how its quota is read.

    Some systems mount both versions at once; only one of them has the CPU controller then.
    """
    paths = dict(_memberships(process))
    for version, root, mount in _mounts(process):
        if version in paths:
            read = _quota_v2 if version == "" else _quota_v1
            for folder in _upwards(mount, root, paths[version]):
                yield folder, read


def _memberships(process: Path) -> Iterator[tuple[str, str]]:
    """("", path) in the hierarchy of version 2, ("cpu", path) in the CPU hierarchy of version 1.

    Source: cgroups(7), /proc/[pid]/cgroup: `hierarchy-ID:controller-list:cgroup-path`.
    """
    for line in _lines(process / "cgroup"):
        _, controllers, path = line.split(":", 2)
        for controller in ("", "cpu"):
            if controller in controllers.split(","):
                yield controller, path


def _mounts(process: Path) -> Iterator[tuple[str, str, Path]]:
    """Where those hierarchies are mounted, as (controller, the cgroup shown at the top, folder).

    Source: proc(5), /proc/[pid]/mountinfo.
    """
    for line in _lines(process / "mountinfo"):
        mount, _, kind = line.partition(" - ")
        _, _, _, root, folder, *_ = mount.split(" ")
        filesystem, _, options = kind.split(" ", 2)
        if filesystem == "cgroup2":
            yield "", _unescaped(root), Path(_unescaped(folder))
        elif filesystem == "cgroup" and "cpu" in options.split(","):
            yield "cpu", _unescaped(root), Path(_unescaped(folder))


def _upwards(mount: Path, root: str, path: str) -> Iterator[Path]:
    """The folders of a cgroup and of all above it that can be seen: each one's limit binds.

    In a container the mount may show nothing above the container's own cgroup, or be from another
    namespace than the path; then the top of the mount is all there is.
    """
    below = PurePosixPath(path)
    inside = below.relative_to(root) if below.is_relative_to(root) else PurePosixPath()
    if ".." in inside.parts:
        inside = PurePosixPath()
    yield mount / inside
    yield from (mount / above for above in inside.parents)


def _quota_v2(cgroup: Path) -> float | None:
    quota, *period = _numbers(cgroup / "cpu.max") or [0]  # the hierarchy's root has none
    return quota / period[0] if period else None  # "max 100000" is no limit


def _quota_v1(cgroup: Path) -> float | None:
    quota, period = (_numbers(cgroup / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    return quota[0] / period[0] if quota and period else None  # "-1" is no limit


def _numbers(file: Path) -> list[int]:
    return [int(word) for line in _lines(file) for word in line.split() if word.isdecimal()]


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:  # another system's
        return []


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), field)
