"""The encoder beside its ceiling and beside other servers of the same model.

    make bench-encoder [BENCH_ARGS='--quick']

Sets up the peers' environments, starts every server on loopback, measures, prints and stores the
figures and the goals. The exit code is 0 when all was measured, whatever the verdicts, else 1.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from encoder import report
from encoder.environments import environment
from encoder.h2load import LoadError, require_h2load
from encoder.machine import description
from encoder.model import model_files
from encoder.peer import PEERS_BY_NAME
from encoder.processes import ServerError
from encoder.results import Results
from encoder.setup import contenders
from encoder.workloads.all import sweep_loads, workloads
from searchmesh_common.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from encoder.bench import Bench, Workload

    Step = tuple[str, Callable[[], None]]
    """What is being done, in a few words, and what does it."""

RESULTS = Path(__file__).parents[1] / "results"

_DEFAULT_MODEL = "all-minilm-l6-v2-int8"

console = Console(stderr=True)


def main() -> int:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, _stop)
    try:
        _run(arguments)
    except (LoadError, ServerError, ServiceError, OSError, subprocess.CalledProcessError) as error:
        console.print(f"[red]bench-encoder:[/] {error}", highlight=False)
        return 1
    return 0


def _run(arguments: argparse.Namespace) -> None:
    require_h2load()
    for name in arguments.peers:
        with console.status(f"environment of {name}, about a minute where it is new"):
            environment(PEERS_BY_NAME[name].environment)
    began = time.perf_counter()
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        with console.status("model, texts and servers"):
            model = model_files(arguments.model, folder / "home")
            bench = running.enter_context(
                contenders(model, folder, arguments.peers, arguments.seconds)
            )
            wanted = [one for one in workloads(bench) if _is_wanted(one, arguments.only)]
        machine = description(model)
        results = _measure(bench, wanted, arguments)
        goals = [goal for one in wanted for goal in one.goals(results)]
        tables = [*report.tables(wanted, results, bench.peers), report.verdicts(goals)]
        settings = {
            "rounds": arguments.rounds,
            "seconds": arguments.seconds,
            "quick": arguments.quick,
            "minutes": round((time.perf_counter() - began) / 60, 1),
        }
        stored = report.as_json(machine, settings, results, goals, bench.peers)
    _store(arguments, stored, report.markdown(machine, _sentence(settings), tables))
    for table in tables:
        Console().print(report.rich_table(table))


def _measure(bench: Bench, wanted: Sequence[Workload], arguments: argparse.Namespace) -> Results:
    """Sweep the peers, then all workloads, round by round."""
    results = Results()
    steps = [
        *_sweeping(bench, wanted, only_first=arguments.quick),
        *_rounds(results, wanted, arguments.rounds),
    ]
    columns = (MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=len(steps))
        for number, (description, act) in enumerate(steps, 1):
            progress.update(task, description=description)
            if not console.is_terminal:
                console.print(f"{number}/{len(steps)} {description}", highlight=False)
            act()
            progress.advance(task)
    return results


def _sweeping(bench: Bench, wanted: Sequence[Workload], *, only_first: bool) -> Iterator[Step]:
    """The settings of each peer that a workload asks for."""
    loads = sweep_loads(bench)
    for name in bench.peers.names:
        if any(name in one.contenders for one in wanted):
            for setting in bench.peers.settings(name)[: 1 if only_first else None]:
                act = partial(bench.peers.sweep, name, setting, loads, bench.seconds)
                yield f"sweep: {name}, {setting}", act


def _rounds(results: Results, wanted: Sequence[Workload], rounds: int) -> Iterator[Step]:
    def measure(workload: Workload, contender: str) -> None:
        results.add(workload.key, contender, workload.measure(contender))

    for one in wanted:
        for number in range(rounds):
            for contender in _in_turn(one, number):
                act = partial(measure, one, contender)
                yield f"{one.key}, round {number + 1}: {contender}", act


def _in_turn(workload: Workload, number: int) -> list[str]:
    """The contenders of a round; each round another one begins."""
    order = list(workload.contenders)
    first = number % len(order) if workload.rotates else 0
    return order[first:] + order[:first]


def _is_wanted(workload: Workload, only: Sequence[str]) -> bool:
    """`a` names all of (a), `a32` the one."""
    return not only or any(name in (workload.key, workload.key[0]) for name in only)


def _store(arguments: argparse.Namespace, stored: dict[str, object], markdown: str) -> None:
    for path, text in (
        (arguments.json, json.dumps(stored, indent=1) + "\n"),
        (arguments.markdown, markdown),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        console.print(f"written to {path}")


def _sentence(settings: dict[str, object]) -> str:
    kind = "A quick run, to try the harness: its figures mean little. " if settings["quick"] else ""
    return (
        f"{kind}`make bench-encoder`, {settings['rounds']} rounds of {settings['seconds']:g} s a "
        f"measurement, {settings['minutes']} minutes in all."
    )


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(1)  # so that the servers are ended


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _arguments() -> argparse.Namespace:
    assert __doc__
    parser = argparse.ArgumentParser(prog="bench-encoder", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=_DEFAULT_MODEL, help="name (default: %(default)s)")
    parser.add_argument("--rounds", type=int, help="of each workload (default: 3)")
    parser.add_argument("--seconds", type=float, help="of a measurement (default: 4)")
    parser.add_argument(
        "--only", type=_names, default=[], metavar="a,b", help="workloads by letter or key"
    )
    parser.add_argument(
        "--peers",
        type=_names,
        default=list(PEERS_BY_NAME),
        metavar="A,B",
        help=f"of {', '.join(PEERS_BY_NAME)} (default: all); empty: none",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="one round of 1 s, one setting a peer: tries the harness, the figures mean little",
    )
    parser.add_argument("--json", type=Path, default=RESULTS / "encoder.json", metavar="FILE")
    parser.add_argument("--markdown", type=Path, default=RESULTS / "encoder.md", metavar="FILE")
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 3)
    arguments.seconds = arguments.seconds or (1.0 if arguments.quick else 4.0)
    unknown = set(arguments.peers) - set(PEERS_BY_NAME)
    if unknown:
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
