"""`searchmesh export`."""

import enum
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from searchmesh.cli.output import plain
from searchmesh.cli.parquet import write_parquet
from searchmesh.cli.rows import FileError
from searchmesh.cli.session import session_of
from searchmesh.client import Client
from searchmesh.resources import Document

_OWN_KEYS = frozenset({"id", "text", "vector"})


class _Ending(enum.StrEnum):
    PARQUET = ".parquet"
    JSONL = ".jsonl"


def export(
    context: typer.Context,
    collection: Annotated[str, typer.Argument(metavar="COLLECTION", help="What to export.")],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", dir_okay=False, help="FILE.parquet or FILE.jsonl.")
    ],
) -> None:
    """Write all documents of a collection to a file, with contents, vectors and attributes.

    `import` of the parquet file, into a collection of the same model, encodes nothing again. The
    file is there once it is whole.
    """
    session = session_of(context)
    ending = _ending_of(file)
    partial = file.with_name(f"{file.name}.partial")
    with Client(session.connection) as mesh:
        space = mesh.get_collection(collection).space
        documents = mesh.export_documents(collection, include_vectors=True)
        try:
            if ending is _Ending.PARQUET:
                count = write_parquet(partial, documents, space)
            else:
                count = _write_json_lines(partial, documents)
        except FileError as error:
            partial.unlink(missing_ok=True)
            raise typer.BadParameter(str(error), param_hint="FILE") from error
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    os.replace(partial, file)  # noqa: PTH105
    answer = {"collection": collection, "file": str(file), "exported": count}
    session.output.answer(answer, lambda: Text(f"{collection}: {count:,} exported to {file}"))


def _ending_of(file: Path) -> _Ending:
    try:
        return _Ending(file.suffix.lower())
    except ValueError as error:
        raise typer.BadParameter(f"{file} must end in .parquet or .jsonl") from error


def _write_json_lines(file: Path, documents: Iterable[Document]) -> int:
    count = 0
    with file.open("w", encoding="utf-8", errors="backslashreplace") as out:
        for fields in map(_fields, documents):
            out.write(json.dumps(fields, ensure_ascii=False) + "\n")
            count += 1
    return count


def _fields(document: Document) -> dict[str, Any]:
    """As `import` reads it: the attributes stand beside id, text and vector."""
    content = document.content
    if not isinstance(content, str | None) or document.segments:
        raise FileError(f"{document.id}: JSON lines hold texts of one vector; export to .parquet")
    if taken := _OWN_KEYS & document.attributes.keys():
        names = ", ".join(sorted(taken))
        raise FileError(f"{document.id}: attributes named {names}: export to FILE.parquet")
    return {"id": document.id, **dict(_present(document)), **document.attributes}


def _present(document: Document) -> Iterator[tuple[str, Any]]:
    if document.content is not None:
        yield "text", document.content
    if document.vector is not None:
        yield "vector", plain(document.vector)
