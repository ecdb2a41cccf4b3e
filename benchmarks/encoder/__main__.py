"""The encoder beside its ceiling and beside other servers of the same model.

    make bench-encoder [BENCH_ARGS='--quick']

Sets up the peers' environments, starts every server on loopback, measures, prints and stores the
figures and the goals; after each workload what is known by then is stored. SIGTERM and SIGINT end
whatever was started. The exit code is 0 when all was measured, whatever the verdicts, else 1.
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
from encoder.processes import ServerError, all_ended
from encoder.results import Results
from encoder.rounds import rounds, sweeping
from encoder.setup import contenders
from encoder.workloads.all import workloads
from searchmesh_common.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from encoder.bench import Bench, Workload

RESULTS = Path(__file__).parents[1] / "results"

_DEFAULT_MODEL = "all-minilm-l6-v2-int8"

console = Console(stderr=True)


def main() -> int:
    arguments = _arguments()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        with all_ended():
            return _run(arguments)
    except (LoadError, ServerError, ServiceError, OSError, subprocess.CalledProcessError) as error:
        console.print(f"[red]bench-encoder:[/] {error}", highlight=False)
        return 1


def _run(arguments: argparse.Namespace) -> int:
    require_h2load()
    for name in arguments.peers:
        with console.status(f"environment of {name}, about a minute where it is new"):
            environment(PEERS_BY_NAME[name].environment)
    with ExitStack() as running:
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        with console.status("model, texts and servers"):
            model = model_files(arguments.model, folder / "home")
            bench = running.enter_context(
                contenders(model, folder, arguments.peers, arguments.seconds)
            )
            wanted = [one for one in workloads(bench) if _is_wanted(one, arguments.only)]
        results = Results()
        for measured in _measuring(bench, wanted, results, arguments):
            run = report.Run(measured, wanted, results, bench.peers, description(model))
            _store(arguments, run)
    if sys.stdout.isatty():
        for table in report.tables(run):
            Console().print(report.rich_table(table))
    else:
        print(report.markdown(run))
    console.print(f"written to {arguments.markdown} and {arguments.json}")
    return 1 if results.faults else 0


def _measuring(
    bench: Bench, wanted: Sequence[Workload], results: Results, arguments: argparse.Namespace
) -> Iterator[report.Settings]:
    """Sweep the peers, then all workloads, round by round; what was done, after each workload."""
    began = time.perf_counter()
    sweep = list(sweeping(bench, wanted, results, only_first=arguments.quick))
    works = [list(rounds(bench, one, results, arguments.rounds)) for one in wanted]
    columns = (MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console) as progress:
        total = len(sweep) + sum(map(len, works))
        task = progress.add_task("", total=total)
        for steps in (sweep, *works):
            for description, act in steps:
                progress.update(task, description=description)
                if not console.is_terminal:
                    at = int(progress.tasks[task].completed) + 1
                    console.print(f"{at}/{total} {description}", highlight=False)
                act()
                progress.advance(task)
            yield report.Settings(
                rounds=arguments.rounds,
                seconds=arguments.seconds,
                quick=arguments.quick,
                minutes=round((time.perf_counter() - began) / 60, 1),
            )


def _is_wanted(workload: Workload, only: Sequence[str]) -> bool:
    """`a` names all of (a), `a32` the one."""
    return not only or any(name in (workload.key, workload.key[0]) for name in only)


def _store(arguments: argparse.Namespace, run: report.Run) -> None:
    for path, text in (
        (arguments.json, json.dumps(report.as_json(run), indent=1, allow_nan=False) + "\n"),
        (arguments.markdown, report.markdown(run)),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _stop(number: int, _frame: FrameType | None) -> None:
    """Leave by way of whatever ends what was started; that is not to be interrupted."""
    for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(one, lambda _number, _frame: None)
    raise SystemExit(128 + number)


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _arguments() -> argparse.Namespace:
    assert __doc__
    parser = argparse.ArgumentParser(prog="bench-encoder", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=_DEFAULT_MODEL, help="name (default: %(default)s)")
    parser.add_argument("--rounds", type=int, help="of each workload (default: 3)")
    parser.add_argument("--seconds", type=float, help="of a measurement (default: 3)")
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
    arguments.seconds = arguments.seconds or (1.0 if arguments.quick else 3.0)
    unknown = set(arguments.peers) - set(PEERS_BY_NAME)
    if unknown:
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
