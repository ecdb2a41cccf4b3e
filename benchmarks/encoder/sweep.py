"""Each peer at the setting that suits a kind of load best."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from encoder import h2load
from encoder.processes import ServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from encoder.model import ModelFiles
    from encoder.peer import Peer, Setting
    from encoder.target import Target

_WARM_SECONDS = 1.0


class Kind(enum.Enum):
    """What a setting is chosen for."""

    QUERIES = "queries"
    PASSAGES = "passages"


class Peers:
    """The peers, one process each at a time; `with` ends them."""

    def __init__(
        self,
        peers: Mapping[str, Peer],
        model: ModelFiles,
        folder: Path,
        cpus: int,
        *,
        check: Callable[[Target], None],
    ) -> None:
        """folder: for their state. check: told of each that was started, raises ServerError."""
        self.names: Sequence[str] = list(peers)
        self.best: dict[Kind, dict[str, Setting]] = {kind: {} for kind in Kind}
        """The setting of each peer for a kind of load."""
        self.swept: dict[Kind, dict[str, dict[str, float]]] = {kind: {} for kind in Kind}
        """Texts a second by peer and setting."""
        self._peers = peers
        self._model = model
        self._folder = folder
        self._cpus = cpus
        self._check = check
        self._running: dict[str, tuple[Setting, Target]] = {}
        self._started = 0

    def __enter__(self) -> Peers:
        return self

    def __exit__(self, *_raised: object) -> None:
        for name in self.names:
            self.stop(name)

    def target(self, name: str, kind: Kind) -> Target:
        """A peer that runs at its best setting for a kind of load. Raises ServerError."""
        if name not in self.best[kind]:
            raise ServerError(f"{name} answered {kind.value} at no setting")
        return self._at(name, self.best[kind][name])

    def best_rate(self, name: str, kind: Kind) -> float:
        """Texts a second at that setting."""
        return max(self.swept[kind][name].values())

    def settings(self, name: str) -> Sequence[Setting]:
        """Those of its sweep."""
        return self._peers[name].settings(self._cpus)

    def sweep(
        self,
        name: str,
        setting: Setting,
        loads: Mapping[Kind, Sequence[Sequence[str]]],
        seconds: float,
    ) -> None:
        """Measure one setting under each kind of load, and remember it where it is the best.

        Raises ServerError, LoadError.
        """
        target = self._at(name, setting)
        for kind, texts in loads.items():
            rate = _rate(target, kind, texts, seconds)
            rates = self.swept[kind].setdefault(name, {})
            if rate > max(rates.values(), default=0.0):
                self.best[kind][name] = setting
            rates[str(setting)] = rate

    def stop(self, name: str) -> None:
        """End a peer, if it runs: the next measurement starts it anew."""
        if name in self._running:
            _, target = self._running.pop(name)
            target.process.stop()

    def _at(self, name: str, setting: Setting) -> Target:
        running = self._running.get(name)
        if running and running[0] == setting and running[1].process.is_running():
            return running[1]
        self.stop(name)
        self._started += 1
        folder = self._folder / f"{self._started}-{name.lower()}"
        target = self._peers[name].start(self._model, setting, folder)
        self._running[name] = setting, target
        self._check(target)
        return target


def _rate(target: Target, kind: Kind, texts: Sequence[Sequence[str]], seconds: float) -> float:
    """Texts a second; those of a server that fails calls do not count."""
    if kind is Kind.QUERIES:
        h2load.closed_loop(target, texts, callers=32, seconds=_WARM_SECONDS)
        load = h2load.closed_loop(target, texts, callers=32, seconds=seconds)
    else:
        load = h2load.counted(target, texts, calls=1)
    return 0.0 if load.failed else load.answered * len(texts[0]) / load.seconds
