"""A run's figures and verdicts as tables, for a terminal, for Markdown and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table as RichTable

from encoder.bench import CEILING
from encoder.profile import PROFILE, hint
from encoder.rounds import SWEEP

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from encoder.bench import Workload
    from encoder.results import Goal, Results
    from encoder.sweep import Peers

_HEADINGS = {
    "texts_per_second": "texts/s",
    "goodput_texts_per_second": "good texts/s",
    "bulk_tokens_per_second": "bulk tokens/s",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "health_p99_ms": "health p99 ms",
    "server_cpu_ms": "CPU ms/text",
    "alone_cpu_ms": "CPU ms/text, one at a time",
    "refusal_cpu_ms": "CPU ms/refusal",
    "server_cpu_seconds": "server CPU s",
    "seconds": "wall s",
    "generator_cpu_ms": "load's CPU ms/text",
    "generator_cpu_seconds": "load's CPU s",
    "resident_mib": "memory MiB",
    "useful_share": "useful/padded tokens",
    "batch_tokens": "batch tokens",
    "hit_share": "cache hits",
    "coalesced_share": "coalesced",
    "ok": "answered",
    "refused": "refused",
    "looked_at": "RetryInfo looked at",
    "no_retry_info": "without RetryInfo",
    "unexplained": "not by admission",
    "expired": "expired",
    "failed": "failed",
}
"""Of every figure but those of a profile, in the order of the columns."""

_NOTES = """
Each figure is the median over the rounds, but failed calls, refusals without RetryInfo and memory
are those of the worst round; every round measures all contenders in turn. `texts/s`, latencies and
`wall s` are wall time; `CPU` is that of all processes of the server, user and system; `load's CPU`
is what h2load or the callers took of the same CPUs. An answer counts only if it was good: HTTP
status 200 and, where the server is ours, `OK` by its own count of gRPC statuses. The others are in
`failed`.

The ceiling tokenises and runs the same texts without a server, sorted by length, at the batch size
that a sweep finds best. Peers serve the same graph and tokenizer over HTTP/1.1, texts and base64
vectors in JSON, each at the best setting of the sweep below. Cache and coalescing are off, but in
(f). Passages of (b), (d) and (e) go to our bulk lane, all else to the query lane; peers have none.

In (e) callers of our own look at every refusal that they are told: all there are in calls of 16
passages, those of 50 calls a second among the single queries, whose flood comes from h2load. Those
of h2load are counted by the encoder: every refusal of its admission carries a RetryInfo, and what
it answered with RESOURCE_EXHAUSTED beyond its admission's refusals is a goal missed.
"""

_OF_PROFILES = (
    "By the encoder's own metrics before and after each measurement, of the texts computed then.",
    "Workers' time is wall time: with more threads than CPUs it holds their waits, too.",
    "Short contents are tokenised on the event loop; with gRPC's work that is the CPU time left.",
)


@dataclass(frozen=True, slots=True)
class Settings:
    """How a run was made."""

    rounds: int
    seconds: float
    quick: bool
    minutes: float

    def __str__(self) -> str:
        kind = "A quick run, to try the harness: its figures mean little. " if self.quick else ""
        return (
            f"{kind}`make bench-encoder`, {self.rounds} round{'s' * (self.rounds > 1)} of "
            f"{self.seconds:g} s a measurement or a multiple of it, {self.minutes} minutes in all."
        )


@dataclass(frozen=True, slots=True)
class Run:
    """A run of the benchmark so far."""

    settings: Settings
    workloads: Sequence[Workload]
    results: Results
    peers: Peers
    machine: Mapping[str, str]

    @property
    def measured(self) -> Sequence[Workload]:
        """Those workloads that there is anything of."""
        return [one for one in self.workloads if one.key in self.results]

    @property
    def goals(self) -> Sequence[Goal]:
        """Of those."""
        return [goal for one in self.measured for goal in one.goals(self.results)]


@dataclass(frozen=True, slots=True)
class Table:
    """Words and numbers, ready to print."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    """What to know beside them."""


def tables(run: Run) -> list[Table]:
    """The goals, one a workload, where our time went, and the peers' sweeps."""
    return [
        _verdicts(run.goals),
        *(_figures(one, run.results) for one in run.measured),
        _profiles(run),
        *_sweeps(run),
    ]


def rich_table(table: Table) -> RichTable:
    """For a terminal."""
    found = RichTable(title=table.title, title_justify="left")
    for at, heading in enumerate(table.header):
        found.add_column(heading, justify="right" if at else "left")
    for row in table.rows:
        found.add_row(*row)
    found.caption = "\n".join(table.notes) or None
    return found


def markdown(run: Run) -> str:
    """The whole report."""
    goals, *others = tables(run)
    met = sum(one.is_met for one in run.goals)
    missing = [one.key for one in run.workloads if one.key not in run.results]
    lines = ["# The encoder beside its ceiling and its peers", "", str(run.settings)]
    if missing:
        lines += ["", f"The run ended early. Not measured: {', '.join(missing)}."]
    lines += ["", *(f"- {name}: {value}" for name, value in run.machine.items())]
    lines += ["", f"## {goals.title}", "", f"{met} of {len(run.goals)} met.", ""]
    lines += [
        *_markdown_rows(goals),
        *_in_the_way(run),
        "",
        "## How to read the figures",
        _NOTES.rstrip(),
    ]
    for table in others:
        lines += ["", f"## {table.title}", "", *_markdown_rows(table)]
        lines += ["", *(f"- {note}" for note in table.notes)] if table.notes else []
    return "\n".join(lines) + "\n"


def as_json(run: Run) -> dict[str, Any]:
    """All samples, not only their medians; what is not a number is null."""
    results = run.results
    return {
        "machine": dict(run.machine),
        "settings": asdict(run.settings),
        "goals": [_plain({**asdict(one), "verdict": one.verdict}) for one in run.goals],
        "samples": _plain(results.samples),
        "faults": results.faults,
        "sweeps": _plain({kind.value: rates for kind, rates in run.peers.swept.items()}),
    }


def _plain(value: Any) -> Any:
    """For JSON, with as many digits as mean something."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return None if math.isnan(value) else float(f"{value:.5g}")
    return value


def _verdicts(goals: Sequence[Goal]) -> Table:
    rows = [
        (goal.workload, goal.sentence, _number(goal.measured), _number(goal.bound), goal.verdict)
        for goal in goals
    ]
    return Table("Goals", ("workload", "goal", "measured", "bound", "verdict"), rows)


def _in_the_way(run: Run) -> Iterator[str]:
    """For each row that misses a goal: where its time goes."""
    missed: dict[tuple[str, str], list[Goal]] = {}
    for goal in run.goals:
        if not goal.is_met:
            missed.setdefault((goal.workload, goal.contender), []).append(goal)
    if missed:
        yield from ("", "Where goals are missed, what the encoder's own metrics show:", "")
    for (key, contender), goals in missed.items():
        sentences = "; ".join(f"{one.sentence}: {one.verdict}" for one in goals)
        where = hint(run.results.medians(key)[contender])
        yield f"- **{key}**, {sentences}. {where}".rstrip()


def _figures(workload: Workload, results: Results) -> Table:
    medians = results.medians(workload.key)
    measured = {name for sample in medians.values() for name in sample}
    figures = [name for name in _HEADINGS if name in measured]
    ceiling = medians[CEILING]["texts_per_second"]
    header = ["", *(_HEADINGS[name] for name in figures)]
    if CEILING in medians:
        header.append("of the ceiling")
    rows = []
    for contender in workload.contenders:
        sample = medians[contender]
        row = [contender, *(_number(sample.get(name)) for name in figures)]
        if CEILING in medians:
            row.append(_number(sample["texts_per_second"] / ceiling))
        rows.append(row)
    return Table(workload.title, header, rows, _faults(results, workload.key))


def _faults(results: Results, key: str) -> list[str]:
    """What went wrong, a line each: its first, which says what; the rest is in the JSON."""
    return [
        f"{contender}, a round that failed: {fault.splitlines()[0]}"
        for contender, faults in results.faults.get(key, {}).items()
        for fault in faults
    ]


def _profiles(run: Run) -> Table:
    """A row for each of ours."""
    rows = [
        (f"{one.key}: {contender}", *(_number(sample[name]) for name in PROFILE))
        for one in run.measured
        for contender, sample in run.results.medians(one.key).items()
        if not math.isnan(sample["profile_cpu_ms"])
    ]
    return Table("Where the time of ours goes", ("", *PROFILE.values()), rows, _OF_PROFILES)


def _sweeps(run: Run) -> Iterator[Table]:
    peers, notes = run.peers, _faults(run.results, SWEEP)
    for kind, swept in peers.swept.items():
        rows = [
            (
                *(name, setting, _number(rate)),
                "best" if setting == str(peers.best[kind].get(name)) else "",
            )
            for name, rates in swept.items()
            for setting, rate in rates.items()
        ]
        if not rows:
            continue
        title = f"Sweep for {kind.value}: worker processes x threads of a run"
        yield Table(title, ("", "setting", "texts/s", ""), rows, notes)


def _markdown_rows(table: Table) -> list[str]:
    rules = ["---", *("---:" for _ in table.header[1:])]
    return [f"| {' | '.join(row)} |" for row in (table.header, rules, *table.rows)]


def _number(value: float | None) -> str:
    """Three digits that count, or all before the point."""
    if value is None or math.isnan(value):
        return ""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"
