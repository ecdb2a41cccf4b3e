"""How long the services take from their start to SERVING, and the memory that each process holds.

    python benchmarks/start.py [--runs N] [--json FILE]

Both start at once, as `searchmesh up` starts them; health is looked at ten times a second. The
encoder's model is built before the first measured start. Exits with 1 when the encoder's median
misses the goal.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from local_mesh import free_addresses, local_mesh, resident_mib

from searchmesh.connection import Service
from searchmesh.local import LocalMesh, State

if TYPE_CHECKING:
    from collections.abc import Mapping

GOAL_SECONDS = 3.0
"""For the encoder with a built model."""


def main() -> int:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        with local_mesh(Path(folder)):
            pass  # builds the model
        runs = [_start(Path(folder)) for _ in range(arguments.runs)]
        with local_mesh(Path(folder)) as (mesh, _):
            memory = resident_mib(mesh)
    seconds = {str(service): statistics.median(run[service] for run in runs) for service in Service}
    if arguments.json:
        figures = {"seconds_to_serving": seconds, "resident_mib": memory}
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    for service, median in seconds.items():
        print(f"{service:<24} {median:.1f} s from start to SERVING, median of {len(runs)}")
    for process, mib in memory.items():
        print(f"{process:<24} {mib:.0f} MiB resident")
    return 0 if seconds[Service.ENCODER] < GOAL_SECONDS else 1


def _start(home: Path) -> dict[Service, float]:
    """Seconds from the start of both services to each one's first SERVING."""
    serving: dict[Service, float] = {}

    def look(states: Mapping[Service, State]) -> None:
        for service, state in states.items():
            if state is State.SERVING:
                serving.setdefault(service, time.perf_counter() - started)

    with LocalMesh(home, free_addresses()) as mesh:
        started = time.perf_counter()
        mesh.start()
        mesh.wait_until_serving(on_change=look)
    return serving


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5, help="measured starts (default: 5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
