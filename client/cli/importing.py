"""`searchmesh import`."""

import enum
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from searchmesh.cli.collections import declared_fields
from searchmesh.cli.failures import Failures
from searchmesh.cli.intake import Intake
from searchmesh.cli.output import Output
from searchmesh.cli.rows import Columns, FileError, Row, read_csv, read_json_lines
from searchmesh.cli.session import session_of
from searchmesh.client import Client
from searchmesh.errors import NotFound, ServiceError
from searchmesh.resources import Collection

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_EXIT_SOME_FAILED = 1


class Format(enum.StrEnum):
    """How a file holds documents."""

    JSONL = "jsonl"
    CSV = "csv"


_READERS: dict[Format, Callable[[BinaryIO, Columns], Iterator[Row]]] = {
    Format.JSONL: read_json_lines,
    Format.CSV: read_csv,
}


def import_(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="FILE.jsonl or FILE.csv, in UTF-8; - reads standard input."
        ),
    ],
    collection: Annotated[
        str | None,
        typer.Argument(
            metavar="COLLECTION", help="Where to. Default: the file's name.", show_default=False
        ),
    ] = None,
    model: Annotated[
        str, typer.Option(help="Create the collection with this model where it is missing.")
    ] = "",
    field: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME:TYPE",
            help="With --model: an attribute to declare: string, int64, double or bool. "
            "Repeatable.",
        ),
    ] = None,
    format_: Annotated[
        Format | None,
        typer.Option("--format", help="Default: by the file's ending; jsonl for -."),
    ] = None,
    id_: Annotated[str, typer.Option("--id", metavar="COLUMN", help="Column of the ids.")] = "id",
    text: Annotated[
        str, typer.Option("--text", "--content", metavar="COLUMN", help="Column of the texts.")
    ] = "text",
    vector: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column of vectors, as JSON lists of numbers."),
    ] = None,
    failures: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", dir_okay=False, help="Write what fails here: a JSON object a line."
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, max=1000, help="Documents in one call.")] = 256,
) -> None:
    """Bring the documents of a file in, replacing those of equal id.

    Every other column (of JSON: key) becomes an attribute. A document that cannot be stored fails
    alone. A file of any size takes little memory; to go on after an interruption, run it again.

    Exit code: 0 all are stored, 1 some failed.
    """
    session = session_of(context)
    name = collection or _name_of(file)
    read = _READERS[format_ or _format_of(file)]
    with (
        Client(session.connection) as mesh,
        _opened(file) as stream,
        Failures(failures) as failed,
        _progress(session.output, name, file) as progress,
    ):
        target = _collection(mesh, name, model, field or [], session.output)
        columns = Columns(id_, text, vector, {one.name: one.type for one in target.fields})
        intake = Intake(read(stream, columns), stream, failed)
        started = time.monotonic()
        try:
            for batch in mesh.upsert_batches(
                name, intake.documents(), batch_size=batch_size, parallel=2
            ):
                progress(intake.settle(batch), intake.done_bytes, started)
        except FileError as error:
            raise typer.BadParameter(str(error), param_hint="FILE") from error
        except (ServiceError, KeyboardInterrupt):
            session.output.note(
                f"stopped after {intake.stored_count:,} documents; run it again to go on"
            )
            raise
    _report(session.output, name, intake, failed, time.monotonic() - started)
    if failed.count:
        raise typer.Exit(_EXIT_SOME_FAILED)


def _name_of(file: Path) -> str:
    name = file.name.partition(".")[0]
    if not _NAME.fullmatch(name):
        raise typer.BadParameter(f"{file.name!r} makes no collection name: give one after the file")
    return name


def _format_of(file: Path) -> Format:
    if str(file) == "-":
        return Format.JSONL
    match file.suffix.lower():
        case ".jsonl" | ".ndjson":
            return Format.JSONL
        case ".csv":
            return Format.CSV
    raise typer.BadParameter(f"{file}: give the format with --format jsonl or --format csv")


def _collection(
    mesh: Client, name: str, model: str, fields: list[str], output: Output
) -> Collection:
    try:
        return mesh.get_collection(name)
    except NotFound:
        if not model:
            raise
    output.note(f"creating collection {name} with model {model}")
    return mesh.create_collection(name, model=model, fields=declared_fields(fields))


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    if str(file) == "-":
        yield sys.stdin.buffer
        return
    if not file.is_file():
        raise typer.BadParameter(f"{file} is no file")
    with file.open("rb") as stream:
        yield stream


@contextmanager
def _progress(
    output: Output, name: str, file: Path
) -> Iterator[Callable[[int, int | None, float], None]]:
    """A bar over the file's bytes, with documents and their rate beside it."""
    total = file.stat().st_size if file.is_file() else None
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[documents]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=output.notes,
        transient=True,
    ) as bar:
        task = bar.add_task(f"import {name}", total=total, documents="")

        def show(done: int, done_bytes: int | None, started: float) -> None:
            rate = done / max(time.monotonic() - started, 1e-9)
            bar.update(
                task, completed=done_bytes, documents=f"{done:,} documents, {rate:,.0f} a second"
            )

        yield show


def _report(output: Output, name: str, intake: Intake, failed: Failures, seconds: float) -> None:
    answer = {
        "collection": name,
        "stored": intake.stored_count,
        "failed": failed.count,
        "seconds": round(seconds, 3),
        "failures": failed.first,
    }
    output.answer(
        answer,
        lambda: Text(
            f"{name}: {intake.stored_count:,} stored, {failed.count:,} failed,"
            f" {seconds:.1f} s, {intake.stored_count / max(seconds, 1e-9):,.0f} a second"
        ),
    )
    for failure in failed.first:
        output.note(f"  line {failure.line}: {failure.id}{': ' * bool(failure.id)}{failure.reason}")
    if failed.count > len(failed.first):
        output.note(f"  and {failed.count - len(failed.first):,} more; --failures FILE keeps all")
    if not intake.stored_count and not failed.count:
        output.note("the file holds no document")
