"""A server that runs, and how it is called."""

from __future__ import annotations

import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

from encoder.scrape import Scrape, scrape

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from encoder.processes import ServerProcess
    from encoder.wires import Wire

_CALL_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Target:
    """A server that runs, and how it is called."""

    name: str
    process: ServerProcess
    base: str
    """`http://host:port`."""
    wire: Wire
    metrics_url: str = ""
    """Of a server of ours."""

    def answers(self) -> bool:
        """Whether an HTTP server encodes by now."""
        try:
            return len(self.encode(["warm"])) == 1
        except OSError:  # refused, or 503 while it loads
            return False

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(texts, dimension) float32, of an HTTP server. Raises OSError."""
        headers = dict(header.split(": ") for header in self.wire.headers)
        request = urllib.request.Request(
            self.base + self.wire.path, self.wire.body(texts), headers, method="POST"
        )
        with urllib.request.urlopen(request, timeout=_CALL_SECONDS) as answer:
            return self.wire.vectors(answer.read())

    def scrape(self) -> Scrape:
        """Its metrics; none of a server that is not ours. Raises OSError."""
        return scrape(self.metrics_url) if self.metrics_url else Scrape({})
