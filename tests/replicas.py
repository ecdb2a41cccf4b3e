"""Several search services as processes that share one journal, one content store and one engine."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from searchmesh import Service
from tests.mesh import Mesh, free_connection

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LEASE_SECONDS = 2


class Replicas:
    """Replicas of the search service; each is a `Mesh` whose encoder is the first one's."""

    def __init__(
        self, folder: Path, journal: str, engine: str, count: int = 2, **settings: str
    ) -> None:
        """journal, engine: what the service takes for them. settings: further ones, by their names
        in the environment.
        """
        environ = {
            "SEARCH_JOURNAL": journal,
            "SEARCH_ENGINE": engine,
            "SEARCH_CONTENTS": str(folder / "contents"),
            "SEARCH_LEASE_SECONDS": str(LEASE_SECONDS),
            **settings,
        }
        first = Mesh(folder / "0", environ=environ)
        others = (_beside(first, folder / str(number), environ) for number in range(1, count))
        self.meshes = [first, *others]

    def start(self, *, encoder: bool = False) -> None:
        """Start all of them, at once, and wait until they serve.

        encoder: the model's encoder, too, which takes seconds.
        """
        starts = [partial(one.start, Service.SEARCH) for one in self.meshes]
        if encoder:
            starts.append(partial(self.meshes[0].start, Service.ENCODER))
        with ThreadPoolExecutor(len(starts)) as threads:
            for started in [threads.submit(start) for start in starts]:
                started.result()

    def close(self) -> None:
        for one in reversed(self.meshes):
            one.close()


def _beside(first: Mesh, home: Path, environ: Mapping[str, str]) -> Mesh:
    search = free_connection().search
    return Mesh(home, replace(first.connection, search=search), environ=environ)
