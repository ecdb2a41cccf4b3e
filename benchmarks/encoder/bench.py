"""What every workload measures with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from encoder import h2load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from encoder.ceiling import Ceiling
    from encoder.model import ModelFiles
    from encoder.ours import Encoder
    from encoder.results import Goal, Results, Sample
    from encoder.sweep import Kind, Peers
    from encoder.target import Target
    from encoder.texts import Texts

CEILING = "ceiling"
BARE = "bare"
OURS = "ours"
ECHO = "echo"


@dataclass(slots=True)
class Bench:
    """Every contender, ready to be measured."""

    model: ModelFiles
    texts: Texts
    ceiling: Ceiling
    ours: Encoder
    """Cache and coalescing off."""
    cached: Encoder
    """As it comes."""
    echo: Target
    peers: Peers
    cpus: int
    """As the encoder counts them."""
    seconds: float
    """Of one measurement."""
    _query_rate: float = field(default=0.0, init=False)

    def target(self, contender: str, kind: Kind) -> Target:
        """A contender that is a server."""
        if contender == OURS:
            return self.ours.target
        return self.echo if contender == ECHO else self.peers.target(contender, kind)

    def query_rate(self, texts: Sequence[Sequence[str]]) -> float:
        """Single queries a second that our encoder answers at most; measured once.

        Goals are not held against it: it sets how often queries arrive.
        """
        if not self._query_rate:
            for seconds in (1.0, self.seconds):
                load = h2load.closed_loop(self.ours.target, texts, callers=32, seconds=seconds)
            self._query_rate = load.answered / load.seconds
        return self._query_rate


class Workload(Protocol):
    """One thing that callers do, and the goals for it."""

    key: str
    title: str
    rotates: bool
    """Whether the rounds begin with one contender after another; not where one needs another's
    figures."""

    @property
    def contenders(self) -> Sequence[str]: ...

    def measure(self, contender: str) -> Sample:
        """One contender's run of one round."""

    def goals(self, results: Results) -> list[Goal]:
        """What the run is held against, where `results` hold what that takes."""
