"""The items that wait in one lane: whose turn it is, of what length, and with whom.

Callers take turns: next is the one that has had the least, in tokens, since it began to wait. So do
short and long items of a caller, in a few classes of length, since a short text would else wait for
all the long ones before it, each of which takes as long as a batch of short ones. One who floods
the lane, or long texts that fill it, leave the others their share.

Source: Goyal, Vin and Cheng 1996, Start-time Fair Queuing, here in two levels.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from searchmesh_encoder.work import Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from searchmesh_encoder.work import Item, Runner

    AnyItem = Item[Any, Any]
    AnyRunner = Runner[Any, Any]

_NEAR_TOKENS = 16
_NEAR_SHARE = 0.25
"""Items share a batch up to the larger of these differences in length, the share being that of the
longer one: a run's fixed cost is that of some 16 tokens, so more padding costs more than it saves.
"""

_MOST_CALLERS = 256
"""Callers beyond so many share places with others: the names are their own choice."""

_MOST_GONE = 1024
"""Items that left out of turn and may stay in the order, where no more than half of it are."""


@dataclass(slots=True)
class _LengthClass:
    """A caller's items of nearly one length, the oldest first."""

    served: float
    """Tokens that it has had; one that begins to wait starts at what is being served."""
    items: deque[AnyItem] = field(default_factory=deque)
    tokens: int = 0
    """That wait."""
    came: int = 0
    """Tokens that ever waited."""


@dataclass(slots=True)
class _Caller:
    served: float
    tokens: int = 0
    classes: dict[int, _LengthClass] = field(default_factory=dict)
    turn: float = 0.0
    """What the class had that was served last."""
    served_by_age: bool = False
    """Whether its last turn went to what had waited longest."""


class FairQueue:
    """Not safe to use from several threads at once."""

    def __init__(self, batch_tokens: int, age_bound_seconds: float) -> None:
        """batch_tokens: most tokens of a batch, padding counted; a longer item is a batch alone.

        age_bound_seconds: an item that has waited so long has every other turn of its caller's,
        whatever its length.
        """
        self._batch_tokens = batch_tokens
        self._age_bound_seconds = age_bound_seconds
        self._callers: dict[str, _Caller] = {}
        self._buckets: dict[AnyRunner, dict[int, deque[AnyItem]]] = {}
        self._turn = 0.0
        self.waiting_since = 0.0
        """Since when something has waited without a break, the last time that anything did."""
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
        known = self._callers.get(self._place(caller))
        return known.tokens if known else 0

    def tokens_ahead(self, caller: str, tokens: int, longest: int) -> int:
        """Tokens that are computed before so many more of a caller are, those not counted.

        longest: tokens of the longest of them. Of other callers and classes no more than of their
        own, since they take turns.
        """
        place = self._place(caller)
        own = self._callers.get(place)
        length_class = own.classes.get(_length_class(longest)) if own else None
        return self._ahead(place, length_class, length_class.tokens if length_class else 0, tokens)

    def tokens_before(self, item: AnyItem) -> int:
        """Tokens that are computed before an item that waits is, or a few less.

        Less where some that came after it have left before it.
        """
        length_class = self._callers[item.caller].classes[_length_class(item.length)]
        came_later = length_class.came - item.came_after
        before = max(0, length_class.tokens - came_later)
        return self._ahead(item.caller, length_class, before, item.length)

    def _ahead(self, place: str, length_class: _LengthClass | None, ahead: int, tokens: int) -> int:
        """What is served until a class of a caller has had tokens, those ahead of them first."""
        own = self._callers.get(place)
        if own:
            others = (one.tokens for one in own.classes.values() if one is not length_class)
            ahead += _shares(others, ahead + tokens)
        callers = (one.tokens for name, one in self._callers.items() if name != place)
        return ahead + _shares(callers, ahead + tokens)

    def oldest(self) -> dict[str, float]:
        """When the item that waits longest came, by runner."""
        since = {}
        for runner, buckets in self._buckets.items():
            waiting = [bucket[0].since for bucket in buckets.values() if self._first(bucket)]
            if waiting:
                since[runner.name] = min(waiting)
        return since

    def push(self, item: AnyItem, now: float) -> None:
        """Let an item wait."""
        item.place, item.since = Place.WAITING, now
        if not self._items:
            self.waiting_since = now
        caller = self._caller(item)
        length_class = _waiting_class(caller, item.length)
        item.came_after = length_class.came
        length_class.came += item.length
        length_class.items.append(item)
        length_class.tokens += item.length
        caller.tokens += item.length
        buckets = self._buckets.get(item.runner)
        if buckets is None:
            buckets = self._buckets[item.runner] = {}
        length = _bucket_length(item.length)
        bucket = buckets.get(length)
        if bucket is None:
            bucket = buckets[length] = deque()
        bucket.append(item)
        self._items += 1
        self._tokens += item.length

    def remove(self, item: AnyItem) -> None:
        """Take a waiting item back."""
        self._leave(item, Place.GONE)
        # what it holds is let go now, the order forgets it later
        item.payload = None
        self._tidy()

    def take(self, now: float) -> list[AnyItem]:
        """The next item and others of nearly its length; empty where none waits."""
        if not self._items:
            return []
        batch = self._fill(self._next(now))
        self._tidy()
        return batch

    def _next(self, now: float) -> AnyItem:
        caller = min(
            (one for one in self._callers.values() if one.tokens), key=lambda one: one.served
        )
        self._turn = caller.served
        waiting = [one for one in caller.classes.values() if self._first(one.items)]
        oldest = min(waiting, key=lambda one: one.items[0].since)
        is_old = now - oldest.items[0].since >= self._age_bound_seconds
        # every other turn at most, else a long backlog would leave the short ones none
        caller.served_by_age = is_old and not caller.served_by_age
        if caller.served_by_age:
            return oldest.items[0]
        length_class = min(waiting, key=lambda one: one.served)
        caller.turn = length_class.served
        return length_class.items[0]

    def _fill(self, first: AnyItem) -> list[AnyItem]:
        """The first and, of those near it in length, the nearest that fit the budget."""
        batch = [first]
        padded_length = first.runner.padded_length
        longest = padded_length(first.length)
        self._serve(first)
        for bucket in self._near(first):
            while self._first(bucket):
                item = bucket[0]
                longer = longest if item.length <= longest else padded_length(item.length)
                if longer * (len(batch) + 1) > self._batch_tokens:
                    break
                self._serve(item)
                batch.append(item)
                longest = longer
        return batch

    def _near(self, item: AnyItem) -> Iterable[deque[AnyItem]]:
        """The buckets whose items may share a batch with an item, nearest in length first."""
        buckets = self._buckets[item.runner]
        if len(buckets) == 1:
            return buckets.values()
        length = _bucket_length(item.length)
        near = [one for one in buckets if _is_near(one, length)]
        near.sort(key=lambda one: abs(one - length))
        return [buckets[one] for one in near]

    def _serve(self, item: AnyItem) -> None:
        """Let an item go to be computed, on its caller's and its class's account."""
        self._leave(item, Place.TAKEN)
        caller = self._callers[item.caller]
        caller.served += item.length
        caller.classes[_length_class(item.length)].served += item.length

    def _leave(self, item: AnyItem, place: Place) -> None:
        item.place = place
        caller = self._callers[item.caller]
        caller.tokens -= item.length
        caller.classes[_length_class(item.length)].tokens -= item.length
        self._items -= 1
        self._tokens -= item.length
        # in its class and in its bucket
        self._gone += 2

    def _first(self, items: deque[AnyItem]) -> AnyItem | None:
        """The first that waits, those before it that do not put away."""
        while items:
            if items[0].place is Place.WAITING:
                return items[0]
            items.popleft()
            self._gone -= 1
        return None

    def _caller(self, item: AnyItem) -> _Caller:
        """An item's caller, its turn no earlier than that of those who waited."""
        if len(self._callers) >= _MOST_CALLERS and item.caller not in self._callers:
            # who has nothing waiting is forgotten, and may come back as a stranger
            self._callers = {name: one for name, one in self._callers.items() if one.tokens}
        item.caller = self._place(item.caller)
        caller = self._callers.get(item.caller)
        if caller is None:
            caller = self._callers[item.caller] = _Caller(self._turn)
        elif not caller.tokens:
            caller.served = max(caller.served, self._turn)
        return caller

    def _place(self, caller: str) -> str:
        if caller in self._callers or len(self._callers) < _MOST_CALLERS:
            return caller
        return f"{hash(caller) % _MOST_CALLERS} of many"

    def _tidy(self) -> None:
        if not self._items:
            # nobody has had more than others of an idle lane
            self._callers.clear()
            self._buckets.clear()
            self._turn = 0.0
            self._gone = 0
        elif self._gone > max(_MOST_GONE, 2 * self._items):
            for items in self._deques():
                waiting = [one for one in items if one.place is Place.WAITING]
                items.clear()
                items.extend(waiting)
            self._gone = 0

    def _deques(self) -> Iterator[deque[AnyItem]]:
        for caller in self._callers.values():
            for length_class in caller.classes.values():
                yield length_class.items
        for buckets in self._buckets.values():
            yield from buckets.values()


def _waiting_class(caller: _Caller, length: int) -> _LengthClass:
    """The class that an item joins, its turn no earlier than that of those that waited."""
    number = _length_class(length)
    length_class = caller.classes.get(number)
    if length_class is None:
        length_class = caller.classes[number] = _LengthClass(caller.turn)
    elif not length_class.tokens:
        length_class.served = max(length_class.served, caller.turn)
    return length_class


def _shares(tokens: Iterable[int], most: int) -> int:
    """What others are served while one is served so many tokens."""
    return sum(min(one, most) for one in tokens)


def _length_class(length: int) -> int:
    """Lengths up to 32 are one class, and then those up to eight times the last class's.

    Narrower classes would keep items apart that share batches well.
    """
    return max(0, ((length - 1).bit_length() - 3) // 3)


def _bucket_length(length: int) -> int:
    """A length rounded up to a multiple of 4, and of about a thirtieth of it where that is more."""
    step = max(4, 1 << max(0, (length - 1).bit_length() - 5))
    return -(-length // step) * step


def _is_near(one: int, other: int) -> bool:
    return abs(one - other) <= max(_NEAR_TOKENS, _NEAR_SHARE * max(one, other))
