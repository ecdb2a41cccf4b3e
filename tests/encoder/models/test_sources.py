"""Files come from packages, paths and URLs, and only with the content that was promised."""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING

import pytest

from searchmesh_common.errors import FailedPrecondition, Unavailable
from searchmesh_encoder.models.sources import LocalFile, PackageFile, RemoteFile, fetch

from .file_server import serving

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = bytes(range(256)) * 10_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Progress:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int | None]] = []

    def __call__(self, done: int, total: int | None) -> None:
        self.calls.append((done, total))


def test_a_package_is_located_and_never_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "carrier_of_weights"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "weights").write_bytes(CONTENT)
    monkeypatch.syspath_prepend(tmp_path)
    source = PackageFile("carrier_of_weights", "weights", DIGEST)
    assert fetch(source, tmp_path, Progress()) == package / "weights"
    assert "carrier_of_weights" not in sys.modules


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="package no_such_package is not installed"):
        fetch(PackageFile("no_such_package", "x", DIGEST), tmp_path, Progress())
    with pytest.raises(FailedPrecondition, match=r"cannot read .*missing: No such file"):
        fetch(LocalFile(tmp_path / "missing", DIGEST), tmp_path, Progress())


def test_another_content_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"other")
    with pytest.raises(FailedPrecondition, match="card demands") as caught:
        fetch(LocalFile(path, DIGEST), tmp_path, Progress())
    assert caught.value.reason == "WRONG_SHA256"
    assert path.exists()


def test_downloads_once_and_tells_how_far_it_is(tmp_path: Path) -> None:
    progress = Progress()
    with serving(CONTENT) as server:
        source = RemoteFile(server.url, DIGEST)
        path = fetch(source, tmp_path / "new", progress)
        assert fetch(source, tmp_path / "new", progress) == path
        assert server.starts == [0]
    assert path.read_bytes() == CONTENT
    assert progress.calls[0] == (0, len(CONTENT))
    assert progress.calls[-1] == (len(CONTENT), len(CONTENT))


def test_resumes_where_it_broke_off(tmp_path: Path) -> None:
    with serving(CONTENT) as server:
        source = RemoteFile(server.url, DIGEST)
        server.break_off_after = 1000
        with pytest.raises(Unavailable, match="broke off"):
            fetch(source, tmp_path, Progress())
        assert not (tmp_path / DIGEST).exists()
        assert fetch(source, tmp_path, Progress()).read_bytes() == CONTENT
        assert server.starts == [0, 1000]


def test_starts_again_where_the_server_knows_no_ranges(tmp_path: Path) -> None:
    with serving(CONTENT) as server:
        source = RemoteFile(server.url, DIGEST)
        server.ranges = False
        server.break_off_after = 1000
        with pytest.raises(Unavailable):
            fetch(source, tmp_path, Progress())
        assert fetch(source, tmp_path, Progress()).read_bytes() == CONTENT


def test_a_part_that_is_whole_already_is_taken(tmp_path: Path) -> None:
    (tmp_path / f"{DIGEST}.part").write_bytes(CONTENT)
    with serving(CONTENT) as server:
        assert fetch(RemoteFile(server.url, DIGEST), tmp_path, Progress()).read_bytes() == CONTENT


def test_a_download_of_another_content_is_thrown_away(tmp_path: Path) -> None:
    with serving(b"other") as server:
        source = RemoteFile(server.url, DIGEST)
        with pytest.raises(FailedPrecondition):
            fetch(source, tmp_path, Progress())
        server.content = CONTENT
        assert fetch(source, tmp_path, Progress()).read_bytes() == CONTENT


def test_a_server_that_is_away_is_unavailable(tmp_path: Path) -> None:
    with serving(CONTENT) as server:
        url = server.url
    with pytest.raises(Unavailable, match="broke off"):
        fetch(RemoteFile(url, DIGEST), tmp_path, Progress())
