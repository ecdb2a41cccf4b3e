"""A run's figures and verdicts as tables, for a terminal, for Markdown and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rich.table import Table as RichTable

from encoder.bench import CEILING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from encoder.bench import Workload
    from encoder.results import Goal, Results
    from encoder.sweep import Peers

_HEADINGS = {
    "texts_per_second": "texts/s",
    "goodput_texts_per_second": "good texts/s",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "server_cpu_ms": "CPU ms/text",
    "alone_cpu_ms": "CPU ms/text, one at a time",
    "generator_cpu_ms": "load's CPU ms/text",
    "useful_share": "useful/padded tokens",
    "batch_tokens": "batch tokens",
    "texts_a_batch": "texts/batch",
    "hit_share": "cache hits",
    "bulk_tokens_per_second": "bulk tokens/s",
    "server_cpu_seconds": "CPU s",
    "generator_cpu_seconds": "load's CPU s",
    "refusal_cpu_ms": "CPU ms/refusal",
    "no_retry_info": "without RetryInfo",
    "health_p99_ms": "health p99 ms",
    "resident_mib": "memory MiB",
    "seconds": "wall s",
}

_NOTES = """
Each figure is the median over the rounds; every round measures all contenders in turn. `texts/s`
and latencies are wall time; `CPU` is that of all processes of the server, user and system; `load's
CPU` is what h2load or the callers took of the same CPUs.

The ceiling tokenises and runs the same texts without a server, sorted by length, at the batch size
that a sweep finds best. Peers serve the same graph and tokenizer over HTTP/1.1, texts and base64
vectors in JSON, each at the best setting of the sweep below. Cache and coalescing are off, but in
(f).
"""


@dataclass(frozen=True, slots=True)
class Table:
    """Words and numbers, ready to print."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


def tables(workloads: Sequence[Workload], results: Results, peers: Peers) -> list[Table]:
    """One a workload, then the peers' sweeps."""
    found = [_figures(one, results) for one in workloads if one.key in results]
    return [*found, *_sweeps(peers)]


def verdicts(goals: Sequence[Goal]) -> Table:
    """Every goal, and whether it was met."""
    rows = [
        (goal.workload, goal.sentence, _number(goal.measured), _number(goal.bound), goal.verdict)
        for goal in goals
    ]
    return Table("Goals", ("workload", "goal", "measured", "bound", "verdict"), rows)


def rich_table(table: Table) -> RichTable:
    """For a terminal."""
    found = RichTable(title=table.title, title_justify="left")
    for at, heading in enumerate(table.header):
        found.add_column(heading, justify="right" if at else "left")
    for row in table.rows:
        found.add_row(*row)
    return found


def markdown(machine: Mapping[str, str], settings: str, every: Sequence[Table]) -> str:
    """The whole report."""
    lines = ["# The encoder beside its ceiling and its peers", "", settings, ""]
    lines += [f"- {name}: {value}" for name, value in machine.items()]
    lines.append(_NOTES.rstrip())
    for table in every:
        lines += ["", f"## {table.title}", "", *_markdown_rows(table)]
    return "\n".join(lines) + "\n"


def as_json(
    machine: Mapping[str, str],
    settings: Mapping[str, Any],
    results: Results,
    goals: Sequence[Goal],
    peers: Peers,
) -> dict[str, Any]:
    """All samples, not only their medians."""
    return {
        "machine": dict(machine),
        "settings": dict(settings),
        "samples": results.samples,
        "medians": {key: results.medians(key) for key in results.samples},
        "sweeps": {kind.value: rates for kind, rates in peers.swept.items()},
        "goals": [{**asdict(one), "verdict": one.verdict} for one in goals],
    }


def _figures(workload: Workload, results: Results) -> Table:
    medians = results.medians(workload.key)
    figures = list(dict.fromkeys(name for sample in medians.values() for name in sample))
    ceiling = medians.get(CEILING, {}).get("texts_per_second")
    header = ["", *(_HEADINGS.get(name, name) for name in figures)]
    if ceiling:
        header.append("of the ceiling")
    rows = []
    for contender, sample in medians.items():
        row = [contender, *(_number(sample.get(name)) for name in figures)]
        if ceiling:
            row.append(_number(sample["texts_per_second"] / ceiling))
        rows.append(row)
    return Table(workload.title, header, rows)


def _sweeps(peers: Peers) -> Iterator[Table]:
    for kind, swept in peers.swept.items():
        rows = [
            (name, setting, _number(rate), "best" if setting == str(peers.best[kind][name]) else "")
            for name, rates in swept.items()
            for setting, rate in rates.items()
        ]
        if not rows:
            continue
        title = f"Sweep for {kind.value}: worker processes x threads of a run"
        yield Table(title, ("", "setting", "texts/s", ""), rows)


def _markdown_rows(table: Table) -> list[str]:
    rules = ["---", *("---:" for _ in table.header[1:])]
    return [f"| {' | '.join(row)} |" for row in (table.header, rules, *table.rows)]


def _number(value: float | None) -> str:
    """Three digits that count, or all before the point."""
    if value is None:
        return ""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"
