"""What `searchmesh import` reads: a file of documents, a folder of texts, standard input."""

from __future__ import annotations

import enum
import gzip
import io
import sys
import zlib
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from searchmesh.cli.parquet import read_parquet
from searchmesh.cli.rows import Columns, FileError, Row, read_csv, read_json_lines
from searchmesh.resources import Document

if TYPE_CHECKING:
    from collections.abc import Iterator

_TEXTS = (".txt", ".md", ".rst")


class Format(enum.StrEnum):
    """How a source holds documents."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"
    FOLDER = "folder"


_BY_ENDING = {
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".csv": Format.CSV,
    ".parquet": Format.PARQUET,
}


def is_standard_input(path: Path) -> bool:
    return str(path) == "-"


def format_of(path: Path) -> Format | None:
    """By what is there and its ending; None where neither tells."""
    if is_standard_input(path):
        return Format.JSONL
    if path.is_dir():
        return Format.FOLDER
    return _BY_ENDING.get(Path(path.name.lower().removesuffix(".gz")).suffix)


def rows(path: Path, format_: Format, columns: Columns) -> Iterator[Row]:
    """The rows of a source. Raises FileError."""
    match format_:
        case Format.PARQUET:
            yield from read_parquet(path, columns)
        case Format.FOLDER:
            yield from _read_folder(path)
        case _:
            with _opened(path) as stream:
                yield from _read_stream(stream, format_, columns)


def identity(path: Path) -> bytes:
    """Equal for what was not written to meanwhile: of names, sizes and times, not of contents."""
    digest = blake2b(digest_size=16)
    for file in _texts(path) if path.is_dir() else [path]:
        found = file.stat()
        digest.update(f"{file.resolve()}\0{found.st_size}\0{found.st_mtime_ns}\0".encode())
    return digest.digest()


def _read_stream(stream: BinaryIO, format_: Format, columns: Columns) -> Iterator[Row]:
    read = read_csv if format_ is Format.CSV else read_json_lines
    try:
        yield from read(stream, columns)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise FileError(f"not gzip, or cut off: {error}") from error


def _opened(path: Path) -> BinaryIO:
    if is_standard_input(path):
        return sys.stdin.buffer
    if path.suffix.lower() == ".gz":
        return io.BufferedReader(cast("io.RawIOBase", gzip.open(path, "rb")))
    return path.open("rb")


def _read_folder(folder: Path) -> Iterator[Row]:
    """Each text file is a document, whose id is its path below the folder."""
    for number, file in enumerate(_texts(folder), start=1):
        name = file.relative_to(folder).as_posix()
        try:
            yield Row(number, Document(name, file.read_text(encoding="utf-8-sig")))
        except UnicodeDecodeError as error:
            yield Row(number, None, f"{name}: not UTF-8: byte {error.start + 1}")


def _texts(folder: Path) -> list[Path]:
    """The folder's text files, hidden ones left out, by path."""
    return sorted(
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in _TEXTS
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )
