"""The items that wait in one lane: next is whose caller has had least, and others of its length.

Order between callers is start-time fair queueing: an item is tagged with the work that its caller
had asked for before it, in tokens, and the lowest tag is next. A caller who floods the lane only
pushes its own tags up; one who comes with a few items starts at the tag that is being served.

Source: Goyal, Vin and Cheng 1996, Start-time Fair Queuing.
"""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from searchmesh_encoder.work import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from searchmesh_encoder.work import Item, Runner

    AnyItem = Item[Any, Any]
    AnyRunner = Runner[Any, Any]

_NEAR_TOKENS = 16
_NEAR_SHARE = 0.25
"""Items share a batch up to the larger of these differences in length, the share being that of the
longer one: a run's fixed cost is that of some 16 tokens, so more padding costs more than it saves.
"""

_MOST_IDLE_CALLERS = 1024
_MOST_GONE = 1024
"""Items taken back that may stay in the order, where no more than half of it are."""


@dataclass(slots=True)
class _Caller:
    finish: float
    """Tag that its next item gets, unless the lane has come further."""
    tokens: int = 0
    """That wait."""


@dataclass(slots=True)
class _Bucket:
    """Items of one runner and nearly one length, lowest tag first."""

    length: int
    """Longest that it takes."""
    heap: list[tuple[float, int, AnyItem]] = field(default_factory=list)
    tokens: int = 0


class FairQueue:
    """Not safe to use from several threads at once."""

    def __init__(self, batch_tokens: int, age_bound_seconds: float) -> None:
        """batch_tokens: most tokens of a batch, padding counted; a longer item is a batch alone.

        age_bound_seconds: while the next item is younger and would share its batch with few, a
        full batch of another length may overtake it.
        """
        self._batch_tokens = batch_tokens
        self._age_bound_seconds = age_bound_seconds
        self._buckets: dict[AnyRunner, dict[int, _Bucket]] = {}
        self._arrivals: defaultdict[AnyRunner, deque[AnyItem]] = defaultdict(deque)
        self._callers: dict[str, _Caller] = {}
        self._tag = 0.0
        self._numbers = count()
        self._items = 0
        self._tokens = 0
        self._gone = 0

    def __len__(self) -> int:
        return self._items

    @property
    def tokens(self) -> int:
        """Tokens that wait."""
        return self._tokens

    def tokens_of(self, caller: str) -> int:
        """Tokens of one caller that wait."""
        known = self._callers.get(caller)
        return known.tokens if known else 0

    def tokens_ahead(self, caller: str, tokens: int) -> int:
        """Tokens that are computed before so many more of a caller are, those not counted.

        Of another caller no more than of this one, since they take turns.
        """
        own = self.tokens_of(caller)
        if own == self._tokens:
            return own
        most = own + tokens
        others = (one.tokens for name, one in list(self._callers.items()) if name != caller)
        return own + sum(min(one, most) for one in others)

    def oldest(self) -> dict[str, float]:
        """When the item that waits longest came, by runner."""
        since: dict[str, float] = {}
        for runner, arrivals in self._arrivals.items():
            while arrivals and arrivals[0].place is not Place.WAITING:
                arrivals.popleft()
            if arrivals:
                since[runner.name] = arrivals[0].since
        return since

    def push(self, item: AnyItem, now: float) -> None:
        """Let an item wait."""
        caller = self._callers.get(item.caller)
        if caller is None:
            caller = self._callers[item.caller] = self._new_caller()
        tag = max(self._tag, caller.finish)
        caller.finish = tag + item.length
        caller.tokens += item.length
        item.place, item.since = Place.WAITING, now
        buckets = self._buckets.setdefault(item.runner, {})
        length = _bucket_length(item.length)
        bucket = buckets.get(length)
        if bucket is None:
            bucket = buckets[length] = _Bucket(length)
        heapq.heappush(bucket.heap, (tag, next(self._numbers), item))
        bucket.tokens += item.length
        arrivals = self._arrivals[item.runner]
        while arrivals and arrivals[0].place is not Place.WAITING:
            arrivals.popleft()
        arrivals.append(item)
        self._items += 1
        self._tokens += item.length

    def remove(self, item: AnyItem) -> None:
        """Take a waiting item back."""
        self._leave(item, Place.GONE)
        # what it holds is let go now, the order forgets it later
        item.payload = None
        self._buckets[item.runner][_bucket_length(item.length)].tokens -= item.length
        self._gone += 1
        if not self._items:
            self._clear()
        elif self._gone > max(_MOST_GONE, self._items):
            self._forget_gone()

    def take(self, now: float) -> list[AnyItem]:
        """The next item and others of nearly its length; empty where none waits."""
        first = self._first()
        if first is None:
            return []
        tag, _, item = first.heap[0]
        fuller = self._fuller(first, item, now)
        if fuller is None:
            self._tag = tag
        batch = self._fill(fuller or first, (fuller or first).heap[0][2].runner)
        if not self._items:
            self._clear()
        return batch

    def _first(self) -> _Bucket | None:
        """The bucket whose first item is next."""
        first = None
        for buckets in list(self._buckets.values()):
            for bucket in list(buckets.values()):
                if not self._live(bucket):
                    del buckets[bucket.length]
                elif first is None or bucket.heap[0] < first.heap[0]:
                    first = bucket
        return first

    def _live(self, bucket: _Bucket) -> bool:
        """Whether something waits in a bucket, those that have gone put away from its top."""
        heap = bucket.heap
        while heap and heap[0][2].place is not Place.WAITING:
            heapq.heappop(heap)
            self._gone -= 1
        return bool(heap)

    def _fuller(self, first: _Bucket, item: AnyItem, now: float) -> _Bucket | None:
        """A bucket that fills a batch, where the one that is next would leave half of it empty."""
        if now - item.since >= self._age_bound_seconds or self._tokens < self._batch_tokens:
            return None
        near = sum(one.tokens for one in self._near(first, item.runner))
        if near * 2 >= self._batch_tokens:
            return None
        full = [
            bucket
            for buckets in self._buckets.values()
            for bucket in buckets.values()
            if bucket.tokens >= self._batch_tokens > bucket.length
        ]
        return min(full, key=lambda one: one.heap[0], default=None)

    def _near(self, bucket: _Bucket, runner: AnyRunner) -> Iterator[_Bucket]:
        """The buckets whose items may share a batch with a bucket's, nearest in length first."""
        buckets = self._buckets[runner]
        if len(buckets) == 1:
            return iter((bucket,))
        near = [one for one in buckets.values() if _is_near(one.length, bucket.length)]
        near.sort(key=lambda one: abs(one.length - bucket.length))
        return iter(near)

    def _fill(self, bucket: _Bucket, runner: AnyRunner) -> list[AnyItem]:
        batch: list[AnyItem] = []
        longest = 0
        for near in self._near(bucket, runner):
            while self._live(near):
                item = near.heap[0][2]
                longer = max(longest, item.length)
                if batch and longer * (len(batch) + 1) > self._batch_tokens:
                    break
                heapq.heappop(near.heap)
                near.tokens -= item.length
                self._leave(item, Place.TAKEN)
                batch.append(item)
                longest = longer
        return batch

    def _leave(self, item: AnyItem, place: Place) -> None:
        item.place = place
        self._items -= 1
        self._tokens -= item.length
        self._callers[item.caller].tokens -= item.length

    def _new_caller(self) -> _Caller:
        if len(self._callers) >= _MOST_IDLE_CALLERS:
            # who has nothing waiting may come back as a stranger, ahead by one item at most
            self._callers = {name: one for name, one in self._callers.items() if one.tokens}
        return _Caller(self._tag)

    def _clear(self) -> None:
        """Start anew where nothing waits: nobody has had more than others of an idle lane."""
        self._buckets.clear()
        self._arrivals.clear()
        self._callers.clear()
        self._tag = 0.0
        self._gone = 0

    def _forget_gone(self) -> None:
        for buckets in self._buckets.values():
            for bucket in buckets.values():
                bucket.heap = [one for one in bucket.heap if one[2].place is Place.WAITING]
                heapq.heapify(bucket.heap)
        for runner, arrivals in self._arrivals.items():
            self._arrivals[runner] = deque(one for one in arrivals if one.place is Place.WAITING)
        self._gone = 0


def _bucket_length(length: int) -> int:
    """A length rounded up to a multiple of 4, and of about a thirtieth of it where that is more."""
    step = max(4, 1 << max(0, (length - 1).bit_length() - 5))
    return -(-length // step) * step


def _is_near(one: int, other: int) -> bool:
    return abs(one - other) <= max(_NEAR_TOKENS, _NEAR_SHARE * max(one, other))
