"""Writes the API reference, docs/api/, from the comments and rules in protos/.

Run as a script: `python tools/build_docs.py [--check]`. With --check nothing is written; pages that
are not what would be written are named, and it fails.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from build_protos import write_image
from contract_pages import Reference
from google.protobuf import descriptor_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping


def build(root: Path) -> dict[PurePosixPath, str]:
    """Every page of the reference, by its path below docs/api, from `root`/protos as it is now."""
    with tempfile.TemporaryDirectory() as folder:
        image_file = Path(folder) / "contract.binpb"
        write_image(root, image_file)
        image = descriptor_pb2.FileDescriptorSet.FromString(image_file.read_bytes())
    return Reference(image).pages()


def stale_pages(pages: Mapping[PurePosixPath, str], folder: Path) -> list[str]:
    """Paths below `folder` that are missing, differ from `pages` or should not be there."""
    there = {path: (folder / path).read_text() for path in _existing(folder)}
    return sorted(
        str(path) for path in pages.keys() | there.keys() if pages.get(path) != there.get(path)
    )


def write_pages(pages: Mapping[PurePosixPath, str], folder: Path) -> None:
    """Make `folder` hold these pages and no others."""
    for path in _existing(folder) - pages.keys():
        (folder / path).unlink()
    for path, text in pages.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def _existing(folder: Path) -> set[PurePosixPath]:
    return {PurePosixPath(path.relative_to(folder).as_posix()) for path in folder.rglob("*.md")}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing, fail on stale pages")
    check = parser.parse_args().check
    root = Path(__file__).resolve().parent.parent
    folder = root / "docs" / "api"
    pages = build(root)
    if not check:
        write_pages(pages, folder)
        sys.stdout.write(f"docs/api: {len(pages)} pages\n")
    elif stale := stale_pages(pages, folder):
        raise SystemExit(f"docs/api is not what `make docs` writes: {', '.join(stale)}")


if __name__ == "__main__":
    main()
