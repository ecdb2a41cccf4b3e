"""Encoders come and go, and no call fails: by the channel that the search service has to them."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest
import pytest_asyncio

from tests.models import WINDOW, write_text_model
from tests.search.mesh import address_of, running_search

from .fleet import Fleet, running_fleet
from .load import LARGE, SEARCH, STREAM, Load, loading

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

MOST_SPREAD = 1.1
"""The most calls of an encoder, over the mean of all."""

FOUND_SECONDS = 10
"""Time until an encoder that has just started has its first call."""

PLACES = range(4)
"""Of the encoders that the tests at length find, and leave."""

in_module = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.slow
async def test_encoders_come_and_go(tmp_path: Path) -> None:
    """In short: connections age sooner than they do by default."""
    async with (
        running_fleet(tmp_path, ENCODER_MAX_CONNECTION_AGE_SECONDS="1") as fleet,
        mesh_of(fleet, tmp_path, range(2), encoder_resolve_seconds=0.5) as load,
    ):
        async with load.going(searches=6, large=1, streams=1):
            assert await spread(fleet, load, range(2)) <= MOST_SPREAD
            await fleet.kill(0)
            await load.until(50, SEARCH, STREAM)
        # only the search service calls: that it has found the new encoder is what can be seen
        async with load.going(searches=6):
            await fleet.start(2)
            await until_called(fleet, 2)
            await fleet.stop(1)
            await load.until(50, SEARCH)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    """Encoders with the settings of every day, but for what tests always set."""
    async with running_fleet(tmp_path_factory.mktemp("fleet")) as fleet:
        yield fleet


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def load(fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Load]:
    async with mesh_of(fleet, tmp_path_factory.mktemp("mesh"), PLACES) as load:
        yield load


@pytest.mark.mesh
@in_module
@pytest.mark.parametrize("callers", [1, 16])
async def test_calls_spread_evenly(fleet: Fleet, load: Load, callers: int) -> None:
    async with load.going(searches=callers, large=1, streams=2):
        spreads = [await spread(fleet, load, PLACES) for _ in range(3)]
    assert max(spreads) <= MOST_SPREAD


@pytest.mark.mesh
@in_module
async def test_a_new_encoder_is_found(fleet: Fleet, load: Load) -> None:
    new = max(PLACES) + 1
    async with load.going(searches=4, large=1, streams=1):
        for _ in range(3):
            await fleet.start(new)
            await until_called(fleet, new)
            assert await spread(fleet, load, [*PLACES, new], searches=1000) <= MOST_SPREAD
            await fleet.stop(new)


@pytest.mark.mesh
@in_module
@pytest.mark.timeout(300)
async def test_killed_encoders_cost_nothing(fleet: Fleet, load: Load) -> None:
    """Calls that they had in hand are made again by others, as these count."""
    survivor, *doomed = PLACES
    before = await fleet.repeated(survivor)
    async with load.going(searches=12, large=2, streams=2):
        for place in doomed * 3:
            await fleet.kill(place)
            await load.until(100, SEARCH)
            await load.until(5, LARGE, STREAM)
            await fleet.start(place)
            await until_called(fleet, place)
    assert await fleet.repeated(survivor) > before


@pytest.mark.mesh
@in_module
async def test_all_but_one_may_die_at_once(fleet: Fleet, load: Load) -> None:
    _, *doomed = PLACES
    async with load.going(searches=12, large=2, streams=2):
        await asyncio.gather(*(fleet.kill(place) for place in doomed))
        await load.until(100, SEARCH)
        await load.until(5, LARGE, STREAM)
        await fleet.start(*doomed)
        for place in doomed:
            await until_called(fleet, place)


@pytest.mark.mesh
@in_module
@pytest.mark.timeout(300)
async def test_a_rolling_restart_costs_nothing(fleet: Fleet, load: Load) -> None:
    async with load.going(searches=12, large=2, streams=2):
        for place in PLACES:
            await fleet.stop(place)
            await fleet.start(place)
            await until_called(fleet, place)
        assert await spread(fleet, load, PLACES, searches=1000) <= MOST_SPREAD


@pytest.mark.mesh
@in_module
async def test_encoders_of_another_model_yield_no_vector(
    fleet: Fleet, load: Load, tmp_path: Path
) -> None:
    """A rollout that is half done: most searches find an encoder of the collection's model."""
    other = write_text_model(tmp_path, window=WINDOW - 1).parent
    kept, replaced = PLACES[:2], PLACES[2:]
    await replace(fleet, load, replaced, cards=other)
    assert await load.refused(500, callers=8) < 100
    for place in kept:
        await fleet.stop(place)
    assert await load.refused(20, callers=2) == 20
    await fleet.start(*kept)
    await until_searched(fleet, load, kept)
    await replace(fleet, load, replaced)
    assert await load.refused(100, callers=8) == 0


@asynccontextmanager
async def mesh_of(
    fleet: Fleet, folder: Path, places: Iterable[int], **settings: float
) -> AsyncIterator[Load]:
    """Encoders at places, a search service before them, and callers of both."""
    await fleet.start(*places)
    async with (
        running_search(folder / "search", fleet.target, **settings) as search,
        loading(fleet.target, address_of(search.server)) as load,
    ):
        yield load


async def spread(fleet: Fleet, load: Load, places: Iterable[int], searches: int = 300) -> float:
    """The most calls of an encoder over the mean of all, while so many searches are answered."""
    before = [await fleet.calls(place) for place in places]
    await load.until(searches, SEARCH)
    after = [await fleet.calls(place) for place in places]
    calls = np.subtract(after, before)
    return float(calls.max() / calls.mean())


async def replace(fleet: Fleet, load: Load, places: Iterable[int], **start: Path) -> None:
    """Put other encoders in the place of some, and wait until they are called."""
    for place in places:
        await fleet.stop(place)
    await fleet.start(*places, **start)
    await until_searched(fleet, load, places)


async def until_searched(fleet: Fleet, load: Load, places: Iterable[int]) -> None:
    """Search until encoders that have just started have each a call."""
    async with asyncio.timeout(FOUND_SECONDS):
        while not all([await fleet.calls(place) for place in places]):
            await load.refused(20, callers=4)


async def until_called(fleet: Fleet, place: int) -> float:
    """Wait until an encoder that has just started has a call; returns the seconds."""
    began = time.monotonic()
    while not await fleet.calls(place):
        assert time.monotonic() - began < FOUND_SECONDS
        await asyncio.sleep(0.1)
    return time.monotonic() - began
