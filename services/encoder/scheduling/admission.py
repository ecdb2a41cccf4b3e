"""Who is let in: what has no room, or cannot be done in time, is refused before work is put in."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from searchmesh_common.errors import DeadlineExceeded, Overloaded
from searchmesh_encoder.work import Lane

if TYPE_CHECKING:
    from searchmesh_encoder.scheduling.cost_model import CostModel
    from searchmesh_encoder.scheduling.scheduler import Scheduler

_SAFETY = 0.7
"""Share of the time that a call has left which the estimate may take where others are ahead: what
is let in under overload is all let in at this limit, and an estimate that is a little short must
not make it all too late.
"""

_SMALL_SHARE = 1 / 8
_SPARE_SHARE = 1 / 4
"""A caller who holds less than the first share of a lane's room may use the second beyond it, so
that one who floods the lane keeps nobody else out."""

_RETRY_SECONDS = (0.05, 30.0)


class Stage(NamedTuple):
    """Threads, what waits for them, and what it costs them."""

    costs: CostModel
    scheduler: Scheduler


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a call is likely to cost, from what can be seen of it without reading it."""

    model: str
    lane: Lane
    caller: str
    units: int
    """Characters or bytes that have to be preprocessed."""
    tokens: int
    """Of all contents."""
    longest: int
    """Tokens of the longest content."""


class _Room:
    """What a lane holds besides its queue."""

    def __init__(self) -> None:
        self.tokens: defaultdict[str, int] = defaultdict(int)
        """Of contents that are still read, by caller."""
        self.bytes = 0


class Admission:
    """Keeps count of what was let in; used on the event loop alone."""

    def __init__(
        self,
        readers: Stage,
        computing: Stage,
        *,
        workers: int,
        queue_tokens: int,
        pending_bytes: int,
    ) -> None:
        """workers: threads of each lane, of each stage.

        queue_tokens, pending_bytes: most tokens that wait in a lane, and most bytes of contents in
        it, read or not; a call that meets an empty lane always fits.
        """
        self._readers = readers
        self._computing = computing
        self._workers = workers
        self._queue_tokens = queue_tokens
        self._pending_bytes = pending_bytes
        self._rooms = {lane: _Room() for lane in Lane}

    def likely_tokens(self, model: str, units: int, most: float) -> int:
        """Tokens that a content of so many characters or bytes is likely to have, at least 1.

        most: that it can have.
        """
        return 1 + int(min(self._computing.costs.tokens(model, units), most))

    def check(self, call: Estimate, deadline: float) -> None:
        """Raise Overloaded where a call has no room or no time; it says when to come back.

        Raises DeadlineExceeded where its time is over: there is nothing to come back for.
        """
        left = deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded("the deadline had passed before anything was computed")
        self._check_tokens(call)
        if left < math.inf:
            self._check_deadline(call, left)

    def hold(self, lane: Lane, caller: str, tokens: int) -> None:
        """Count a content that is about to be preprocessed."""
        self._rooms[lane].tokens[caller] += tokens

    def release(self, lane: Lane, caller: str, tokens: int) -> None:
        """Undo `hold`: it is in the queue, or nowhere."""
        room = self._rooms[lane]
        room.tokens[caller] -= tokens
        if not room.tokens[caller]:
            del room.tokens[caller]

    def take_bytes(self, lane: Lane, count: int) -> None:
        """Count what a call keeps in memory until `hold_bytes` lets it go.

        Raises Overloaded where there is no room for it.
        """
        held = self._rooms[lane].bytes
        if held and held + count > self._pending_bytes:
            tokens = self._computing.scheduler.waiting_tokens(lane)
            raise _overloaded(
                f"{held} bytes of contents are being worked on, no room for {count} more",
                tokens * self._token_seconds(lane),
            )
        self.hold_bytes(lane, count)

    def hold_bytes(self, lane: Lane, count: int) -> None:
        """Count bytes more that a lane's calls keep in memory, or fewer with a negative count."""
        self._rooms[lane].bytes += count

    def held_tokens(self, lane: Lane) -> int:
        """Tokens of contents that were let in and are not in the queue yet, as estimated."""
        return sum(self._rooms[lane].tokens.values())

    def held_bytes(self, lane: Lane) -> int:
        """Bytes that a lane's calls keep in memory."""
        return self._rooms[lane].bytes

    def _check_tokens(self, call: Estimate) -> None:
        waiting = self._computing.scheduler.waiting_tokens(call.lane) + self.held_tokens(call.lane)
        most = self._queue_tokens
        if not waiting or waiting + call.tokens <= most:
            return
        own = self._rooms[call.lane].tokens.get(call.caller, 0) + call.tokens
        own += self._computing.scheduler.waiting_tokens_of(call.lane, call.caller)
        if own <= most * _SMALL_SHARE:
            most += int(most * _SPARE_SHARE)
        if waiting + call.tokens > most:
            seconds = (waiting + call.tokens - most) * self._token_seconds(call.lane)
            raise _overloaded(f"{waiting} tokens are waiting, no room for more", seconds)

    def _check_deadline(self, call: Estimate, left: float) -> None:
        wait, own = self._wait_seconds(call), self._own_seconds(call)
        allowed = left * _SAFETY if wait else left
        if wait + own > allowed:
            raise _overloaded(
                f"this would take about {wait + own:.3f} s, of which {own:.3f} s are its own; "
                f"its deadline is in {left:.3f} s",
                wait + own - allowed,
            )

    def _wait_seconds(self, call: Estimate) -> float:
        """Until the work of others is done that comes first."""
        room = self._rooms[call.lane]
        costs, scheduler = self._computing
        ahead = scheduler.tokens_ahead(call.lane, call.caller, call.tokens, call.longest)
        most = ahead + call.tokens
        ahead += sum(min(tokens, most) for tokens in room.tokens.values())
        seconds = ahead * self._token_seconds(call.lane)
        if scheduler.is_busy(call.lane):
            # a worker has to finish its batch before it can begin with another
            seconds += costs.batch_seconds(call.model, call.lane, call.longest) / 2
        costs, readers = self._readers
        units = readers.tokens_ahead(call.lane, call.caller, call.units, call.units)
        return seconds + units * costs.worker_seconds(call.lane) / self._workers

    def _own_seconds(self, call: Estimate) -> float:
        costs = self._computing.costs
        together = call.tokens * costs.worker_seconds(call.lane, call.model) / self._workers
        reading = call.units * self._readers.costs.worker_seconds(call.lane, call.model)
        return reading + max(together, costs.batch_seconds(call.model, call.lane, call.longest))

    def _token_seconds(self, lane: Lane) -> float:
        """Seconds in which a lane gets a token done."""
        return self._computing.costs.worker_seconds(lane) / self._workers


def _overloaded(sentence: str, seconds: float) -> Overloaded:
    shortest, longest = _RETRY_SECONDS
    return Overloaded(sentence, retry_after_seconds=min(max(seconds, shortest), longest))
