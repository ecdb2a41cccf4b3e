"""The commands `backup` and `restore` of the search service's program."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from searchmesh_common.lifecycle import Command
from searchmesh_search.backups.backup import back_up
from searchmesh_search.backups.places import Places
from searchmesh_search.backups.restore import restore

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from searchmesh_search.backups.manifest import Manifest
    from searchmesh_search.settings import SearchSettings


class _Bars:
    """A bar for each part, on standard error where that is a terminal."""

    def __init__(self) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            DownloadColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._tasks = {
            part: self.progress.add_task(part, total=None, visible=False)
            for part in ("journal", "engine", "contents")
        }

    def copied(self, part: str, done_bytes: int, total_bytes: int) -> None:
        self.progress.update(
            self._tasks[part], completed=done_bytes, total=total_bytes, visible=True
        )


def _back_up(settings: SearchSettings, given: Namespace) -> None:
    bars = _Bars()
    with bars.progress:
        made = back_up(Places.of(settings), given.folder, bars)
    _tell(made, f"backed up to {given.folder}", as_json=given.json)


def _restore(settings: SearchSettings, given: Namespace) -> None:
    places = Places.of(settings)
    bars = _Bars()
    with bars.progress:
        restored = restore(given.folder, places, bars)
    sentence = f"restored to {places.journal}, {places.engine} and {places.contents}"
    _tell(restored, sentence, as_json=given.json)


def _tell(manifest: Manifest, sentence: str, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(manifest.summary(), indent=2) + "\n")
        return
    sys.stdout.write(
        f"{sentence}: {manifest.documents} documents of {manifest.collections} collections as of "
        f"{manifest.time}, {manifest.bytes:,} bytes\n"
    )


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of the backup")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON value on standard output, no more"
    )


BACKUP: Command[SearchSettings] = Command(
    "backup",
    "Copy all that the service has acknowledged to DIR, which must be new or empty, also while it "
    "runs.",
    _add_arguments,
    _back_up,
)
RESTORE: Command[SearchSettings] = Command(
    "restore",
    "Bring a backup back to where the settings say that state is kept; there must be none.",
    _add_arguments,
    _restore,
)
