"""The models of this encoder and what each can do now; loads them in the background."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from searchmesh_common.errors import NotFound, ServiceError, Unavailable
from searchmesh_common.logs import fields

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from searchmesh_encoder.models.card import ModelCard
    from searchmesh_encoder.models.download import Progress
    from searchmesh_encoder.text_model import TextModel

_log = logging.getLogger("searchmesh.models")

_MEGABYTE = 1_000_000


class State(enum.Enum):
    """Whether a model encodes."""

    UNLOADED = "unloaded"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


@dataclass(slots=True, eq=False)
class KnownModel:
    """A model of the catalogue, loaded or not."""

    card: ModelCard
    is_default: bool
    state: State = State.UNLOADED
    message: str = "not among the models that this encoder was told to load"
    """Why it does not encode, in a sentence; empty when it does."""
    loaded: TextModel | None = None


class ModelRegistry:
    """Every known model; `async with` loads the wanted ones, the default first."""

    def __init__(
        self,
        cards: Mapping[str, ModelCard],
        wanted: Sequence[str],
        load: Callable[[ModelCard, Progress], TextModel],
        on_change: Callable[[KnownModel], None],
    ) -> None:
        """cards: every model by name. wanted: the names of those to load, the default first.

        load: blocks; called on a thread of its own. on_change: told of every change of a state.
        Raises NotFound where a wanted name is unknown.
        """
        self._models = {
            name: KnownModel(card, is_default=name == wanted[0]) for name, card in cards.items()
        }
        self._wanted = [self.get(name) for name in wanted]
        self._load = load
        self._on_change = on_change
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._ended = False
        self._loading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> ModelRegistry:
        for model in self._wanted:
            model.state, model.message = State.LOADING, "waiting to be loaded"
        for model in self._models.values():
            self._on_change(model)
        self._loading = asyncio.create_task(self._load_wanted())
        return self

    async def __aexit__(self, *_raised: object) -> None:
        """End what is being downloaded; it goes on at the next start."""
        self._ended = True
        if self._loading:
            self._loading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loading
        self._thread.shutdown(wait=False, cancel_futures=True)

    def get(self, name: str) -> KnownModel:
        """Raises NotFound."""
        model = self._models.get(name)
        if model is None:
            known = ", ".join(self._models)
            raise NotFound("model", name, f"no model is called {name!r}; there are {known}")
        return model

    def all(self) -> Sequence[KnownModel]:
        """Every known model, by name."""
        return list(self._models.values())

    def ready(self, name: str) -> TextModel:
        """A model that encodes. Raises NotFound, or Unavailable where it does not encode now."""
        model = self.get(name)
        if model.loaded is None:
            raise Unavailable(f"{name} is {model.state.value}: {model.message}")
        return model.loaded

    async def _load_wanted(self) -> None:
        async with asyncio.TaskGroup() as group:
            for model in self._wanted:
                group.create_task(self._keep_loading(model))

    async def _keep_loading(self, model: KnownModel) -> None:
        while True:
            retry_after_seconds = await self._load_once(model)
            if retry_after_seconds is None:
                return
            await asyncio.sleep(retry_after_seconds)

    async def _load_once(self, model: KnownModel) -> float | None:
        """Load a model; returns the seconds after which it is worth another attempt."""
        loop = asyncio.get_running_loop()
        started = time.perf_counter()

        def progress(done: int, total: int | None) -> None:
            if self._ended:
                raise Unavailable("the encoder is stopping")
            of = f" of {total // _MEGABYTE}" if total else ""
            model.message = f"downloading: {done // _MEGABYTE}{of} MB"

        def load() -> TextModel:
            model.state, model.message = State.LOADING, "being loaded"
            return self._load(model.card, progress)

        try:
            model.loaded = await loop.run_in_executor(self._thread, load)
        except ServiceError as error:
            self._change(model, State.FAILED, error.message)
            return error.retry_after_seconds if isinstance(error, Unavailable) else None
        except Exception as error:  # noqa: BLE001 - the other models still serve
            _log.exception("model cannot be loaded", extra=fields(model=model.card.name))
            self._change(model, State.FAILED, f"unexpected: {error}")
            return None
        seconds = round(time.perf_counter() - started, 3)
        _log.info("model loaded", extra=fields(model=model.card.name, seconds=seconds))
        self._change(model, State.READY, "")
        return None

    def _change(self, model: KnownModel, state: State, message: str) -> None:
        model.state, model.message = state, message
        if state is State.FAILED:
            _log.error("model failed", extra=fields(model=model.card.name, reason=message))
        self._on_change(model)
