"""The metrics of one of our servers: all at one moment, and what they grew by."""

from __future__ import annotations

import math
import re
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    Series = Mapping[tuple[str, frozenset[tuple[str, str]]], float]
    """Values by name and labels."""

_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_TIMEOUT_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Scrape:
    """Every series of a server."""

    series: Series

    def since(self, earlier: Scrape) -> Scrape:
        """What every series grew by."""
        return Scrape(
            {key: value - earlier.series.get(key, 0.0) for key, value in self.series.items()}
        )

    def names(self) -> set[str]:
        """Of all metrics."""
        return {name for name, _ in self.series}

    def sum(self, name: str, **labels: str) -> float:
        """Of all series of a metric that have these labels."""
        wanted = labels.items()
        return sum(
            value
            for (found, given), value in self.series.items()
            if found == name and wanted <= given
        )

    def mean(self, name: str, **labels: str) -> float:
        """Of what a histogram observed; not a number where that is nothing."""
        count = self.sum(f"{name}_count", **labels)
        return self.sum(f"{name}_sum", **labels) / count if count else math.nan


def scrape(url: str) -> Scrape:
    """The metrics as they are now. Raises OSError."""
    with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:
        return parsed(answer.read().decode())


def parsed(text: str) -> Scrape:
    """Metrics in Prometheus's text format."""
    return Scrape(
        {
            (name, frozenset(_LABEL.findall(labels))): float(value)
            for name, labels, value in _SAMPLE.findall(text)
        }
    )
