"""What a run does, step by step; a step that fails is noted and the others go on."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from encoder.workloads.all import sweep_loads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from encoder.bench import Bench, Workload
    from encoder.results import Results

    Step = tuple[str, Callable[[], None]]
    """What is being done, in a few words, and what does it."""

SWEEP = "sweep"
"""What the faults of sweeps are noted under, beside those of workloads."""

_MOST_FAULT_CHARACTERS = 2_000


def sweeping(
    bench: Bench, wanted: Sequence[Workload], results: Results, *, only_first: bool
) -> Iterator[Step]:
    """The settings of each peer that a workload asks for."""
    loads = sweep_loads(bench)
    for name in bench.peers.names:
        if any(name in one.contenders for one in wanted):
            for setting in bench.peers.settings(name)[: 1 if only_first else None]:
                act = partial(bench.peers.sweep, name, setting, loads, bench.seconds)
                step = partial(_guarded, bench, results, SWEEP, name, act)
                yield f"sweep: {name}, {setting}", step


def rounds(bench: Bench, workload: Workload, results: Results, number: int) -> Iterator[Step]:
    """All contenders of a workload in turn, so many times."""

    def measure(contender: str) -> None:
        results.add(workload.key, contender, workload.measure(contender))

    for at in range(number):
        for contender in _in_turn(workload, at):
            act = partial(measure, contender)
            step = partial(_guarded, bench, results, workload.key, contender, act)
            yield f"{workload.key}, round {at + 1}: {contender}", step


def _guarded(
    bench: Bench, results: Results, key: str, contender: str, act: Callable[[], None]
) -> None:
    try:
        act()
    except Exception as error:  # noqa: BLE001 - whatever it is, the other figures are good
        told = f"{type(error).__name__}: {error}"
        results.failed(key, contender, told[:_MOST_FAULT_CHARACTERS])
        # whatever state it is in: the next step starts it anew
        bench.peers.stop(contender)


def _in_turn(workload: Workload, number: int) -> list[str]:
    """The contenders of a round; each round another one begins."""
    order = list(workload.contenders)
    first = number % len(order) if workload.rotates else 0
    return order[first:] + order[:first]
