"""Models load in the background; one that fails leaves the others alone, and what can heal does."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from searchmesh_common.errors import FailedPrecondition, NotFound, Unavailable
from searchmesh_encoder.registry import ModelRegistry, State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from searchmesh_encoder.models.download import Progress
    from searchmesh_encoder.registry import KnownModel
    from searchmesh_encoder.text_model import TextModel


class Changes:
    """What a registry reported, and waiting for it."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, State]] = []
        self._changed = asyncio.Event()

    def __call__(self, model: KnownModel) -> None:
        self.seen.append((model.card.name, model.state))
        self._changed.set()

    async def until(self, name: str, state: State) -> None:
        async with asyncio.timeout(10):
            while (name, state) not in self.seen:
                self._changed.clear()
                await self._changed.wait()


def registry(
    tiny: TextModel,
    load: Callable[[Any, Progress], TextModel],
    changes: Changes,
    wanted: Sequence[str] = ("tiny",),
) -> ModelRegistry:
    cards = {name: dataclasses.replace(tiny.card, name=name) for name in ("other", "spare", "tiny")}
    return ModelRegistry(cards, wanted, load, changes)


async def test_loads_the_default_first_and_only_what_is_wanted(tiny: TextModel) -> None:
    changes = Changes()
    async with registry(tiny, lambda *_: tiny, changes, ("tiny", "other")) as models:
        await changes.until("other", State.READY)
        assert changes.seen == [
            ("other", State.LOADING),
            ("spare", State.UNLOADED),
            ("tiny", State.LOADING),
            ("tiny", State.READY),
            ("other", State.READY),
        ]
        assert [one.card.name for one in models.all()] == ["other", "spare", "tiny"]
        assert [one.is_default for one in models.all()] == [False, False, True]
        assert models.ready("tiny") is tiny
        with pytest.raises(Unavailable, match="spare is unloaded: not among"):
            models.ready("spare")


async def test_unknown_names_are_not_found(tiny: TextModel) -> None:
    async with registry(tiny, lambda *_: tiny, Changes()) as models:
        with pytest.raises(NotFound, match="'big'; there are other, spare, tiny") as caught:
            models.ready("big")
        assert (caught.value.kind, caught.value.name) == ("model", "big")
    with pytest.raises(NotFound):
        registry(tiny, lambda *_: tiny, Changes(), ("big",))


async def test_tells_how_far_it_is(tiny: TextModel) -> None:
    told, go_on = threading.Event(), threading.Event()

    def load(_card: object, progress: Progress) -> TextModel:
        progress(5_000_000, 90_000_000)
        told.set()
        assert go_on.wait(10)
        return tiny

    changes = Changes()
    async with registry(tiny, load, changes) as models:
        await asyncio.to_thread(told.wait, 10)
        with pytest.raises(Unavailable, match="tiny is loading: downloading: 5 of 90 MB"):
            models.ready("tiny")
        go_on.set()
        await changes.until("tiny", State.READY)
        assert models.get("tiny").message == ""


@pytest.mark.parametrize("error", [FailedPrecondition("X", "no weights"), ValueError("no weights")])
async def test_one_that_fails_leaves_the_others_alone(tiny: TextModel, error: Exception) -> None:
    def load(card: Any, _progress: Progress) -> TextModel:
        if card.name == "tiny":
            raise error
        return tiny

    changes = Changes()
    async with registry(tiny, load, changes, ("tiny", "other")) as models:
        await changes.until("other", State.READY)
        assert models.get("tiny").state is State.FAILED
        with pytest.raises(Unavailable, match=r"tiny is failed: .*no weights"):
            models.ready("tiny")


async def test_tries_again_what_was_away(tiny: TextModel) -> None:
    attempts = iter([Unavailable("broke off", retry_after_seconds=0.01), None])

    def load(*_: object) -> TextModel:
        if error := next(attempts):
            raise error
        return tiny

    changes = Changes()
    async with registry(tiny, load, changes) as models:
        await changes.until("tiny", State.READY)
        assert ("tiny", State.FAILED) in changes.seen
        assert models.ready("tiny") is tiny


async def test_says_that_it_tries_again(tiny: TextModel) -> None:
    attempts = iter([Unavailable("broke off", retry_after_seconds=0.01), None])
    trying, go_on = threading.Event(), threading.Event()

    def load(*_: object) -> TextModel:
        if error := next(attempts):
            raise error
        trying.set()
        assert go_on.wait(10)
        return tiny

    async with registry(tiny, load, Changes()) as models:
        assert await asyncio.to_thread(trying.wait, 10)
        with pytest.raises(Unavailable, match="tiny is loading: being loaded"):
            models.ready("tiny")
        go_on.set()


async def test_ends_what_is_being_downloaded(tiny: TextModel) -> None:
    begun, ended = threading.Event(), threading.Event()

    def load(_card: object, progress: Progress) -> TextModel:
        try:
            for done in range(1_000_000):
                progress(done, None)
                begun.set()
                time.sleep(0.001)
        finally:
            ended.set()
        return tiny

    async with registry(tiny, load, Changes()):
        assert await asyncio.to_thread(begun.wait, 10)
    assert await asyncio.to_thread(ended.wait, 10)


async def test_ends_while_it_waits_to_try_again(tiny: TextModel) -> None:
    def load(*_: object) -> TextModel:
        raise Unavailable("away", retry_after_seconds=3600)

    changes = Changes()
    async with registry(tiny, load, changes):
        await changes.until("tiny", State.FAILED)
