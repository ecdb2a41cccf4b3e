"""Kills parts of a mesh at random moments and starts them again."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import psutil

from searchmesh import Service

if TYPE_CHECKING:
    from tests.mesh import Mesh

    from .history import History

_PARTS = ("search", "engine", "encoder")
_WEIGHTS = (5, 4, 2)
_MOST_SECONDS = 1.5
"""Between two kills."""
_IN_ROW = 0.3
"""Share of kills that do not wait until the mesh serves again: starts are killed, too."""


class Killer:
    """SIGKILL for the search service, the engine's process and the encoder, in random order."""

    def __init__(self, mesh: Mesh, history: History, seed: int) -> None:
        self._mesh = mesh
        self._history = history
        self._random = random.Random(seed)

    def kill(self, times: int) -> dict[str, int]:
        """Returns how often each part was killed."""
        killed = dict.fromkeys(_PARTS, 0)
        while sum(killed.values()) < times:
            if self._random.random() > _IN_ROW:
                self._mesh.wait_until_serving()
            time.sleep(self._random.uniform(0.0, _MOST_SECONDS))
            (part,) = self._random.choices(_PARTS, _WEIGHTS)
            if self._kill(part):
                killed[part] += 1
                self._history.note("killed", part=part, number=sum(killed.values()))
        return killed

    def _kill(self, part: str) -> bool:
        if part == "engine":
            return self._kill_engine()
        service = Service.SEARCH if part == "search" else Service.ENCODER
        self._mesh.kill(service)
        self._mesh.launch(service)
        return True

    def _kill_engine(self) -> bool:
        """Whether there was one."""
        try:
            engines = self._mesh.engines()
            for engine in engines:
                engine.kill()
        except psutil.NoSuchProcess:
            return False
        return bool(engines)
