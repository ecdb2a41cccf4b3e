"""Who is next, and with whom: callers and lengths by turns, alike in length, within the budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from searchmesh_encoder.scheduling.fair_queue import FairQueue
from searchmesh_encoder.work import Item, Lane

from .runners import Recorder

if TYPE_CHECKING:
    from collections.abc import Iterable

_RUNNER = Recorder()


def item(payload: Any, length: int, caller: str = "", runner: Any = _RUNNER) -> Item[Any, Any]:
    return Item(runner, payload, length, Lane.QUERY, lambda *_: None, caller)


def queue(*items: Item[Any, Any], budget: int = 100, bound: float = 1e9) -> FairQueue:
    made = FairQueue(budget, bound)
    for one in items:
        made.push(one, 0.0)
    return made


def lengths(*given: int) -> Iterable[Item[Any, Any]]:
    return (item(one, one) for one in given)


def taken(queue_: FairQueue, now: float = 0.0) -> list[list[Any]]:
    """All batches until the queue is empty, as payloads."""
    batches = []
    while batch := queue_.take(now):
        batches.append([one.payload for one in batch])
    return batches


def test_nearest_lengths_share_a_batch_within_the_budget() -> None:
    # three of at most 33 are 99 tokens; 90 and 10 together would be 180
    assert taken(queue(*lengths(30, 90, 33, 10, 31))) == [[30, 31, 33], [90], [10]]


def test_far_lengths_share_no_batch_though_the_budget_would_hold_them() -> None:
    assert taken(queue(*lengths(4, 20, 21, 25))) == [[4, 20], [21, 25]]


def test_an_item_over_the_budget_is_a_batch_alone() -> None:
    assert taken(queue(*lengths(500, 400))) == [[500], [400]]


def test_runners_never_share_a_batch() -> None:
    other = Recorder("other")
    waiting = queue(item(1, 4), item(2, 4, runner=other), item(3, 4))
    assert taken(waiting) == [[1, 3], [2]]


def test_callers_take_turns() -> None:
    flood = [item(f"flood {number}", 90, "flood") for number in range(50)]
    waiting = queue(*flood)
    waiting.push(item("first", 90, "few"), 0.0)
    waiting.push(item("second", 90, "few"), 0.0)
    order = [one for (one,) in taken(waiting)]
    assert order[:4] == ["flood 0", "first", "flood 1", "second"]


def test_a_caller_who_had_much_waits_for_one_who_comes_later() -> None:
    waiting = queue(*(item("flood", 90, "flood") for _ in range(10)))
    waiting.take(0.0)
    waiting.take(0.0)
    for _ in range(3):
        waiting.push(item("few", 90, "few"), 0.0)
    order = [one for (one,) in taken(waiting)]
    assert order[:6].count("few") == 3


def test_who_was_away_has_saved_nothing_up() -> None:
    waiting = queue(item("a", 90, "a"), *(item("b", 90, "b") for _ in range(20)))
    for _ in range(10):
        waiting.take(0.0)
    for _ in range(10):
        waiting.push(item("a", 90, "a"), 0.0)
    order = [one for (one,) in taken(waiting)]
    assert 5 <= order[:10].count("a") <= 6


def test_what_shares_a_batch_is_paid_for_by_its_own_caller() -> None:
    waiting = queue(
        *(item("a", 50, "a") for _ in range(20)), *(item("b", 50, "b") for _ in range(20))
    )
    for batch in taken(waiting)[:10]:
        # b's come along with a's though they are not first in turn, and count
        assert len(batch) == 2
    assert len(waiting) == 0


def test_a_short_item_need_not_wait_for_all_the_long_ones_before_it() -> None:
    waiting = queue(*(item("long", 90) for _ in range(20)), item("short", 8))
    order = [one for (one,) in taken(waiting)]
    assert order.index("short") == 1


def test_long_items_get_their_share_beside_short_ones() -> None:
    shorts = (item("short", 10) for _ in range(100))
    waiting = queue(*shorts, *(item("long", 90) for _ in range(5)))
    batches = taken(waiting)
    assert 4 <= [batch[0] for batch in batches[:10]].count("long") <= 5


def test_past_the_age_bound_an_item_has_the_next_turn_whatever_its_length() -> None:
    def after_a_turn_of_each() -> FairQueue:
        waiting = queue(item("long", 101), item("long", 101), bound=1.0)
        for _ in range(60):
            waiting.push(item("short", 10), 0.5)
        assert [waiting.take(0.5)[0].payload for _ in range(2)] == ["long", "short"]
        return waiting

    # short ones have had a token less than long ones
    assert after_a_turn_of_each().take(0.9)[0].payload == "short"
    assert after_a_turn_of_each().take(1.0)[0].payload == "long"


def test_a_backlog_past_the_age_bound_leaves_short_items_their_turns() -> None:
    waiting = queue(*(item("long", 90) for _ in range(20)), bound=1.0)
    waiting.push(item("short", 8), 50.0)
    order = [one for (one,) in taken(waiting, 100.0)]
    assert order.index("short") <= 3


def test_the_budget_counts_what_is_padded() -> None:
    class Rounding(Recorder):
        def padded_length(self, longest: int) -> int:
            return -(-longest // 8) * 8

    rounding = Rounding()
    waiting = queue(*(item(number, 5, runner=rounding) for number in range(20)))
    # twelve of 8 are 96 of the 100 tokens, though twenty of 5 would be no more than 100
    assert [len(batch) for batch in taken(waiting)] == [12, 8]


def test_tokens_ahead_are_those_of_ones_turns() -> None:
    flood = [item(0, 100, "flood") for _ in range(50)]
    waiting = queue(*flood, item(0, 30, "few"))
    assert waiting.tokens_ahead("flood", 100, 100) == 5000 + 30
    assert waiting.tokens_ahead("flood", 10, 10) == 10 + 20
    assert waiting.tokens_ahead("few", 20, 20) == 30 + 50
    assert waiting.tokens_ahead("new", 200, 100) == 200 + 30
    assert waiting.tokens_of("few") == 30
    assert waiting.tokens_of("new") == 0


def test_many_names_take_no_more_room_than_some() -> None:
    waiting = queue(*(item(number, 50, f"caller {number}") for number in range(2000)))
    assert len(waiting._callers) <= 2 * 256
    assert sorted(one for batch in taken(waiting) for one in batch) == list(range(2000))
    for number in range(2000):
        waiting.push(item(number, 50, f"caller {number}"), 0.0)
        waiting.take(0.0)
        waiting.push(item(number, 50, "stays"), 0.0)
        assert len(waiting._callers) <= 2 * 256


def test_what_is_taken_back_is_forgotten() -> None:
    items = [item(number, 4) for number in range(5000)]
    waiting = queue(*items)
    for one in items[:-1]:
        waiting.remove(one)
    assert (len(waiting), waiting.tokens) == (1, 4)
    assert sum(map(len, waiting._deques())) <= 1024 + 2
    assert taken(waiting) == [[4999]]


_ITEMS = st.lists(
    st.tuples(st.integers(1, 400), st.sampled_from("abc"), st.sampled_from((0, 1))), max_size=80
)


@settings(max_examples=200)
@given(given_=_ITEMS, gone=st.sets(st.integers(0, 79)), bound=st.sampled_from((0.0, 1.0)))
def test_every_item_is_taken_once_within_the_budget(
    given_: list[tuple[int, str, int]], gone: set[int], bound: float
) -> None:
    runners = (_RUNNER, Recorder("other"))
    items = [
        item(number, length, caller, runners[runner])
        for number, (length, caller, runner) in enumerate(given_)
    ]
    waiting = queue(*items, bound=bound)
    for number in gone.intersection(range(len(items))):
        waiting.remove(items[number])
    kept = {number: one for number, one in enumerate(items) if number not in gone}
    assert waiting.tokens == sum(one.length for one in kept.values())
    batches: list[list[Item[Any, Any]]] = []
    while batch := waiting.take(0.0):
        batches.append(batch)
        assert len({one.runner for one in batch}) == 1
        assert len(batch) == 1 or max(one.length for one in batch) * len(batch) <= 100
    assert sorted(str(one.payload) for batch in batches for one in batch) == sorted(map(str, kept))
    assert (len(waiting), waiting.tokens) == (0, 0)
    assert waiting.oldest() == {}


@settings(max_examples=100)
@given(flood=st.integers(1, 200), few=st.lists(st.integers(1, 50), min_size=1, max_size=8))
def test_a_flood_delays_others_by_no_more_than_their_share(flood: int, few: list[int]) -> None:
    waiting = queue(*(item("flood", 50, "flood") for _ in range(flood)), budget=100)
    for length in few:
        waiting.push(item("few", length, "few"), 0.0)
    before = 0
    left = len(few)
    while left:
        batch = waiting.take(0.0)
        left -= sum(one.payload == "few" for one in batch)
        before += sum(one.length for one in batch if one.payload == "flood")
    # as much as its own, one item more that was begun, and what shared its batches
    assert before <= 2 * sum(few) + 50 + 100 * len(few)
