"""`searchmesh import`."""

import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from searchmesh.cli.collections import declared_fields
from searchmesh.cli.failures import Failures
from searchmesh.cli.intake import Intake
from searchmesh.cli.output import Output
from searchmesh.cli.progress import ImportBar
from searchmesh.cli.rows import Columns, FileError, Row
from searchmesh.cli.session import session_of
from searchmesh.cli.sources import Format, format_of, identity, is_standard_input, rows
from searchmesh.client import Client
from searchmesh.errors import FailedPrecondition, NotFound, ServiceError
from searchmesh.import_operation import ImportOperation
from searchmesh.resources import Collection, Segmentation
from searchmesh.results import ImportProgress, ImportState

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_EXIT_SOME_FAILED = 1


def import_(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="FILE.jsonl, FILE.csv (both in UTF-8, .gz too), FILE.parquet, or a folder of "
            ".txt, .md and .rst files; - reads standard input.",
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
    segments: Annotated[
        bool,
        typer.Option("--segments", help="With --model: a vector for each passage of a text."),
    ] = False,
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
    request_id: Annotated[
        str,
        typer.Option(
            metavar="ID",
            help="Names the import, as operations/ID. Default: made of the file's path, size and "
            "time and of the collection, so that the same command goes on with the same import.",
        ),
    ] = "",
    again: Annotated[
        bool,
        typer.Option("--again", help="Import anew what an import that has ended brought in."),
    ] = False,
    no_wait: Annotated[
        bool,
        typer.Option("--no-wait", help="End once the service has all of it on disk."),
    ] = False,
) -> None:
    """Bring the documents of a file in, replacing those of equal id.

    Every other column (of JSON: key) becomes an attribute; a parquet file that `export` wrote keeps
    its vectors, and nothing of it is encoded again. A document that cannot be stored fails alone.

    It may be interrupted at any moment: the same command goes on with the same import.

    Exit code: 0 all are stored (with --no-wait: received), 1 some failed.
    """
    session = session_of(context)
    name = collection or _name_of(file)
    kind = _checked_format(file, format_)
    if again and request_id:
        raise typer.BadParameter("give --again or --request-id, not both")
    with Client(session.connection) as mesh, Failures(failures) as failed:
        target = _collection(mesh, name, model, field or [], segments, session.output)
        columns = Columns(id_, text, vector, {one.name: one.type for one in target.fields})
        key = request_id or _request_id(file, target, again, (kind, id_, text, vector))
        intake = Intake(_started(rows(file, kind, columns)), failed)
        started = time.monotonic()
        with _interruptible(session.output, key), ImportBar(session.output.notes, name) as bar:
            operation = mesh.import_documents(
                name,
                intake.documents(),
                request_id=key,
                refused=intake.settle,
                progress=bar.show,
            )
            progress = _last(operation, bar, wait=not no_wait)
            for failure in operation.failures():
                intake.settle(failure)
    _report(session.output, operation.name, progress, failed, time.monotonic() - started)
    if failed.count or (not no_wait and progress.state is not ImportState.SUCCEEDED):
        raise typer.Exit(_EXIT_SOME_FAILED)


def _name_of(file: Path) -> str:
    name = file.name.partition(".")[0]
    if not _NAME.fullmatch(name):
        raise typer.BadParameter(f"{file.name!r} makes no collection name: give one after the file")
    return name


def _checked_format(file: Path, given: Format | None) -> Format:
    if not is_standard_input(file) and not file.exists():
        raise typer.BadParameter(f"{file} is no file and no folder")
    found = given or format_of(file)
    if found is None:
        raise typer.BadParameter(f"{file}: give the format with --format jsonl, csv or parquet")
    if file.is_dir() != (found is Format.FOLDER):
        raise typer.BadParameter(f"{file} cannot be read as {found}")
    return found


def _request_id(file: Path, target: Collection, again: bool, options: tuple[Any, ...]) -> str:
    """Equal for equal commands, as long as the file and the collection are the same."""
    if again or is_standard_input(file):
        return uuid.uuid4().hex
    made = target.create_time.isoformat() if target.create_time else ""
    digest = blake2b(identity(file), digest_size=16)
    digest.update(repr((target.name, made, *map(str, options))).encode())
    return digest.hexdigest()


def _collection(
    mesh: Client, name: str, model: str, fields: list[str], segments: bool, output: Output
) -> Collection:
    try:
        found = mesh.get_collection(name)
    except NotFound:
        if not model:
            raise
    else:
        _require_segments(found, segments)
        return found
    output.note(f"creating collection {name} with model {model}")
    return mesh.create_collection(
        name,
        model=model,
        fields=declared_fields(fields),
        segmentation=Segmentation.SEGMENTS if segments else Segmentation.WHOLE,
    )


def _require_segments(found: Collection, asked: bool) -> None:
    if asked and found.segmentation is not Segmentation.SEGMENTS:
        raise typer.BadParameter(
            f"--segments: {found.name} is there already, with one vector a document; leave it out, "
            "or name another collection"
        )


def _started(found: Iterator[Row]) -> Iterator[Row]:
    """The same rows, the first of which is read: a file that cannot be begins no import."""
    try:
        first = next(found, None)
    except FileError as error:
        raise typer.BadParameter(str(error), param_hint="FILE") from error
    return chain([] if first is None else [first], found)


@contextmanager
def _interruptible(output: Output, request_id: str) -> Iterator[None]:
    """Say how to go on, whatever ends the import early."""
    try:
        yield
    except FileError as error:
        raise typer.BadParameter(str(error), param_hint="FILE") from error
    except (ServiceError, KeyboardInterrupt) as error:
        output.note(f"stopped: {_how_to_go_on(error, f'operations/{request_id}')}")
        raise


def _how_to_go_on(error: BaseException, operation: str) -> str:
    if isinstance(error, FailedPrecondition) and error.reason == "IMPORT_ENDED":
        return f"what {operation} has stored is kept; --again imports all of it anew"
    return (
        f"what {operation} has received is kept; run the same command to go on, or see it with:"
        f" searchmesh operations watch {operation}"
    )


def _last(operation: ImportOperation, bar: ImportBar, *, wait: bool) -> ImportProgress:
    """How far the import is in the end; without `wait` now."""
    progress = None
    for progress in operation.watch():
        bar.show(progress)
        if not wait:
            break
    assert progress
    return progress


def _report(
    output: Output, operation: str, progress: ImportProgress, failed: Failures, seconds: float
) -> None:
    answer = {
        "collection": progress.collection,
        "operation": operation,
        "state": progress.state,
        "received": progress.received_count,
        "stored": progress.stored_count,
        "searchable": progress.searchable_count,
        "failed": failed.count,
        "seconds": round(seconds, 3),
        "failures": failed.first,
    }
    output.answer(answer, lambda: Text(_summary(operation, progress, failed.count, seconds)))
    for failure in failed.first:
        output.note(f"  line {failure.line}: {failure.id}{': ' * bool(failure.id)}{failure.reason}")
    if failed.count > len(failed.first):
        output.note(f"  and {failed.count - len(failed.first):,} more; --failures FILE keeps all")
    if progress.error:
        output.complain(progress.error)
    if not progress.received_count and not failed.count:
        output.note("the file holds no document")


def _summary(operation: str, progress: ImportProgress, failed: int, seconds: float) -> str:
    if not progress.state.has_ended:
        return f"{progress.collection}: {progress.received_count:,} received; {operation} goes on"
    return (
        f"{progress.collection}: {progress.stored_count:,} stored, {failed:,} failed,"
        f" {seconds:.1f} s; {operation} {progress.state.lower()}"
    )
