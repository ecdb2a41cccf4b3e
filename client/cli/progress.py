"""The bar of an import, fed by what the service says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from searchmesh.results import ImportState

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console

    from searchmesh.results import ImportProgress


class ImportBar:
    """Searchable documents of those received, with every stage's count, rate and time left."""

    def __init__(self, console: Console, name: str) -> None:
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[stages]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task(f"import {name}", total=None, stages="")

    def __enter__(self) -> ImportBar:
        self._bar.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def show(self, progress: ImportProgress) -> None:
        receiving = progress.state is ImportState.RECEIVING
        self._bar.update(
            self._task,
            # how many will come is not known before all are there
            total=None if receiving else progress.received_count,
            completed=progress.searchable_count + progress.failed_count,
            stages=stages(progress),
        )


def stages(progress: ImportProgress) -> str:
    """One line: counts, rate and time left, or why nothing gets on."""
    line = (
        f"{progress.received_count:,} received, {progress.encoded_count:,} encoded,"
        f" {progress.stored_count:,} stored, {progress.searchable_count:,} searchable"
    )
    if progress.failed_count:
        line += f", {progress.failed_count:,} failed"
    if progress.waiting_for and not progress.state.has_ended:
        return f"{line}; waiting: {progress.waiting_for.message}"
    if progress.documents_per_second and not progress.state.has_ended:
        line += f", {progress.documents_per_second:,.0f} a second"
    if progress.time_left is not None and not progress.state.has_ended:
        line += f", {progress.time_left.total_seconds():,.0f} s left"
    return line
