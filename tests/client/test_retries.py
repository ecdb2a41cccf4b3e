"""When a failed call is made again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchmesh import RetryPolicy
from searchmesh.errors import Aborted, NotFound, Overloaded, ServiceError, Unavailable, Unreachable


@given(
    asked=st.floats(0.001, 60),
    made=st.integers(1, 10),
    most_attempts=st.integers(1, 10),
    most_pause=st.floats(0.1, 30),
)
def test_a_pause_is_never_shorter_than_asked_nor_much_longer_than_allowed(
    asked: float, made: int, most_attempts: int, most_pause: float
) -> None:
    policy = RetryPolicy(most_attempts, most_pause)
    pause = policy.pause_after(Overloaded("full", asked), made)
    if made >= most_attempts or asked > most_pause:
        assert pause is None
    else:
        assert pause is not None
        assert asked <= pause <= most_pause * 1.25


@pytest.mark.parametrize(
    "error",
    [Aborted("lost a race"), NotFound("collection", "notes", "no notes")],
    ids=lambda error: type(error).__name__,
)
def test_other_errors_are_not_repeated(error: ServiceError) -> None:
    assert RetryPolicy().pause_after(error, 1) is None


def test_pauses_grow() -> None:
    error = Unavailable("draining", 1.0)
    pauses = [RetryPolicy().pause_after(error, made) or 0 for made in (1, 2, 3)]
    assert 1.0 <= pauses[0] <= 1.25
    assert 2.0 <= pauses[1] <= 2.5
    assert 4.0 <= pauses[2] <= 5.0


def test_a_service_that_nobody_reaches_is_tried_again_soon() -> None:
    pauses = [RetryPolicy().pause_after(Unreachable("gone"), made) for made in (1, 2, 3, 4)]
    assert pauses[3] is None
    assert sum(pause or 0 for pause in pauses) < 1
