"""Downloads a file once: resumed where it broke off, and in place only when it is whole."""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.request
from typing import IO, TYPE_CHECKING, TypeAlias

from searchmesh_common.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Progress: TypeAlias = Callable[[int, int | None], None]
    """Bytes done, and bytes in all where the server says so."""

_CHUNK_BYTES = 1024 * 1024
_TIMEOUT_SECONDS = 30.0
_RANGE_NOT_SATISFIABLE = 416


def download(url: str, target: Path, progress: Progress) -> None:
    """Fetch `url` to `target`; blocks. What broke off is left beside it and resumed the next time.

    Raises Unavailable where it breaks off or the server refuses.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    try:
        _append(url, part, progress)
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        raise Unavailable(
            f"downloading {url} broke off: {error}", retry_after_seconds=30
        ) from error
    part.replace(target)


def _append(url: str, part: Path, progress: Progress) -> None:
    with part.open("ab") as file:
        done = file.tell()
        # the schemes are those that a card may name, http and https
        request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"})  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310
                if response.status != http.client.PARTIAL_CONTENT:
                    file.truncate(0)
                    done = 0
                _copy(response, file, done, progress)
        except urllib.error.HTTPError as error:
            # nothing is left to send: the part is whole, and its sha256 will tell
            if error.code != _RANGE_NOT_SATISFIABLE or not done:
                raise
        file.flush()
        os.fsync(file.fileno())


def _copy(
    response: http.client.HTTPResponse, file: IO[bytes], done: int, progress: Progress
) -> None:
    total = None if response.length is None else done + response.length
    progress(done, total)
    while chunk := response.read(_CHUNK_BYTES):
        file.write(chunk)
        done += len(chunk)
        progress(done, total)
    if total is not None and done < total:
        raise http.client.IncompleteRead(b"", total - done)
