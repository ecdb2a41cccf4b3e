"""(b) Bulk passages of nearly one length; (c), its throughput: texts of every length."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encoder import h2load
from encoder.bench import CEILING, OURS
from encoder.results import at_least, no_failures, ratio
from encoder.sweep import Kind
from encoder.texts import PASSAGE_TOKENS
from encoder.wires import grpc_wire
from encoder.workloads.measuring import at_ceiling, best_batches, served

if TYPE_CHECKING:
    from collections.abc import Sequence

    from encoder.bench import Bench
    from encoder.results import Goal, Results, Sample
    from encoder.wires import Lane


class Bulk:
    """Callers with many texts a call, as many callers as there are calls' worth of texts."""

    rotates = True

    def __init__(
        self,
        bench: Bench,
        calls: Sequence[Sequence[str]],
        *,
        key: str,
        title: str,
        lane: Lane,
        least_of_ceiling: float,
        least_useful: float,
    ) -> None:
        """calls: the texts of each caller's calls, as many in each.

        least_of_ceiling: throughput as a share of the ceiling's. least_useful: tokens as a share
        of those with padding; 0: any.
        """
        self._bench = bench
        self._calls = calls
        self._texts = [text for call in calls for text in call]
        self._tokens = sum(map(bench.texts.tokens, self._texts))
        self._lane = lane
        self._least_of_ceiling = least_of_ceiling
        self._least_useful = least_useful
        self.key = key
        self.title = title

    @property
    def contenders(self) -> Sequence[str]:
        return [CEILING, *self._bench.peers.names, OURS]

    def measure(self, contender: str) -> Sample:
        if contender == CEILING:
            return at_ceiling(self._bench, self.key, self._texts)
        target = self._bench.target(contender, Kind.PASSAGES)
        if contender == OURS:
            target = self._bench.ours.called_by(grpc_wire(self._bench.model.name, self._lane))
        calls = self._calls_in_time(contender)
        sample = served(
            self._bench,
            target,
            len(self._calls[0]),
            lambda: h2load.counted(target, self._calls, calls=calls),
        )
        if contender == OURS:
            sample["useful_share"] = sample["profile_useful"]
        return sample

    def goals(self, results: Results) -> list[Goal]:
        medians = results.medians(self.key)
        ours, ceiling = medians[OURS], medians[CEILING]
        share = ratio(ours["texts_per_second"], ceiling["texts_per_second"])
        bound = self._least_of_ceiling
        found = [at_least(self.key, f"throughput ÷ ceiling ≥ {bound:.2f}", share, bound)]
        if self._least_useful:
            useful = ours["useful_share"]
            sentence = f"useful ÷ padded tokens ≥ {self._least_useful:.2f}"
            found.append(at_least(self.key, sentence, useful, self._least_useful))
        return [*found, no_failures(self.key, medians)]

    def _calls_in_time(self, contender: str) -> int:
        """Calls a caller so that a contender is busy for about a measurement's time."""
        if contender in self._bench.peers.names:
            # known for passages: where texts are shorter, tokens cost about the same
            passages = self._bench.peers.best_rate(contender, Kind.PASSAGES)
            rate = passages * PASSAGE_TOKENS * len(self._texts) / self._tokens
        else:
            rate = best_batches(self._bench, self.key, self._texts).texts_per_second
        return max(1, round(rate * self._bench.seconds / len(self._texts)))
