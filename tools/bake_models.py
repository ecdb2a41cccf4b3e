"""Builds models into a folder, for an image whose encoder builds nothing at its start.

Run as a script, where the encoder and the packages that carry the weights are installed:
`python tools/bake_models.py FOLDER MODEL...`; the encoder finds them where FOLDER is
SEARCHMESH_HOME/models.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from searchmesh_encoder.models.catalogue import read_catalogue
from searchmesh_encoder.models.store import ModelStore

if TYPE_CHECKING:
    from collections.abc import Sequence


def bake(folder: Path, names: Sequence[str]) -> None:
    """Build the models of these names, each checked against the sha256 of its card.

    Raises SystemExit for a name without a card, and what `ModelStore.built` raises.
    """
    catalogue = read_catalogue()
    unknown = [name for name in names if name not in catalogue]
    if unknown:
        raise SystemExit(f"no card for {', '.join(unknown)}; known: {', '.join(catalogue)}")
    store = ModelStore(folder)
    for name in names:
        model = store.built(catalogue[name], _no_progress)
        sys.stdout.write(f"{name}: {model.graph}\n")


def _no_progress(_done: int, _total: int | None) -> None:
    """Whoever builds an image reads a log, where a bar would only make lines."""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder to build into")
    parser.add_argument("models", nargs="+", help="names of models, as their cards have them")
    arguments = parser.parse_args()
    bake(arguments.folder, arguments.models)


if __name__ == "__main__":
    main()
