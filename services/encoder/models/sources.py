"""Where a model's files come from: a Python package that carries them, a path, or a URL."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from searchmesh_common.errors import FailedPrecondition
from searchmesh_encoder.models.download import download

if TYPE_CHECKING:
    from searchmesh_encoder.models.download import Progress


@dataclass(frozen=True, slots=True)
class PackageFile:
    """A file inside an installed Python package, which is never imported."""

    package: str
    path: str
    """Relative to the package's folder."""
    sha256: str


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file of this machine."""

    path: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file that is downloaded once."""

    url: str
    sha256: str


Source: TypeAlias = PackageFile | LocalFile | RemoteFile


def fetch(source: Source, downloads: Path, progress: Progress) -> Path:
    """A file of this machine with the content that the source promises; blocks.

    downloads: folder for what has to be fetched. progress: told of bytes done and bytes in all.

    Raises Unavailable where a download breaks off, FailedPrecondition where the file is not there
    (MISSING_FILE) or has another content (WRONG_SHA256).
    """
    match source:
        case RemoteFile(url=url, sha256=sha256):
            path = downloads / sha256
            if not path.exists():
                download(url, path, progress)
        case PackageFile():
            path = _inside_package(source)
        case LocalFile(path=path):
            pass
    found = _sha256(path)
    if found != source.sha256:
        if isinstance(source, RemoteFile):
            path.unlink()  # so that the next attempt does not meet it again
        raise FailedPrecondition(
            "WRONG_SHA256", f"{path} has sha256 {found}, the model's card demands {source.sha256}"
        )
    return path


def _inside_package(source: PackageFile) -> Path:
    # find_spec of a top-level name reads no code; importing would pull in what the package needs
    spec = importlib.util.find_spec(source.package)
    if spec is None or not spec.submodule_search_locations:
        raise FailedPrecondition(
            "MISSING_FILE", f"the Python package {source.package} is not installed"
        )
    return Path(spec.submodule_search_locations[0]) / source.path


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FailedPrecondition("MISSING_FILE", f"cannot read {path}: {error.strerror}") from error
