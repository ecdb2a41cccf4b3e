"""Composition root of the encoder: builds each object, once."""

from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from searchmesh.encoder.v1.encoder_service_pb2_grpc import add_EncoderServiceServicer_to_server
from searchmesh_common.metrics import new_registry
from searchmesh_common.server import Server
from searchmesh_encoder.cache import EmbeddingCache
from searchmesh_encoder.cpus import available
from searchmesh_encoder.encoder import Encoder
from searchmesh_encoder.in_flight import READ_UNITS, InFlight
from searchmesh_encoder.metrics import STAGES, EncoderMetrics
from searchmesh_encoder.models.catalogue import read_catalogue
from searchmesh_encoder.models.store import ModelStore
from searchmesh_encoder.registry import ModelRegistry, State
from searchmesh_encoder.scheduling.admission import Admission, Stage
from searchmesh_encoder.scheduling.cost_model import CostModel
from searchmesh_encoder.scheduling.scheduler import Scheduler
from searchmesh_encoder.servicer import SERVICE, EncoderServicer
from searchmesh_encoder.text_model import TextModel
from searchmesh_encoder.work import Lane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from searchmesh_common.health import Health
    from searchmesh_encoder.models.card import ModelCard
    from searchmesh_encoder.models.download import Progress
    from searchmesh_encoder.registry import KnownModel
    from searchmesh_encoder.settings import EncoderSettings


@asynccontextmanager
async def build_server(settings: EncoderSettings) -> AsyncIterator[Server]:
    """A server that is not started yet, while models load in the background.

    Raises StartError for a faulty card, NotFound for a model that no card describes.
    """
    prometheus = new_registry("encoder")
    metrics = EncoderMetrics(prometheus)
    server = Server(settings, prometheus)
    cards = await asyncio.to_thread(read_catalogue, settings.cards)
    registry = ModelRegistry(
        cards,
        tuple(dict.fromkeys((settings.default_model, *settings.models))),
        _loader(settings),
        _reporter(server.health, metrics),
    )
    async with build_encoder(settings, registry, metrics) as encoder, registry:
        servicer = EncoderServicer(
            encoder,
            registry,
            validate=server.validator.validate,
            draining=server.draining,
            stream_requests=settings.stream_requests,
            most_answer_bytes=settings.max_message_bytes,
        )
        server.add(add_EncoderServiceServicer_to_server, servicer, SERVICE)
        yield server


@asynccontextmanager
async def build_encoder(
    settings: EncoderSettings, registry: ModelRegistry, metrics: EncoderMetrics
) -> AsyncIterator[Encoder]:
    """An encoder of the registry's models, with its threads, which end with the block."""
    cpus = available()
    workers = settings.workers or cpus.usable
    # where a quota stops all threads once it is used up, low priority keeps nothing free for
    # queries: only as many batches as the quota lasts for may run then
    is_capped = cpus.quota is not None and cpus.quota < cpus.allowed
    most_running = min(workers, cpus.usable) if is_capped else math.inf
    costs, reading_costs = CostModel(), CostModel()
    readers = Scheduler(
        "preprocess",
        workers=workers,
        most_running=most_running,
        batch_tokens=READ_UNITS,
        age_bound_seconds=settings.age_bound_seconds,
        costs=reading_costs,
        on_batch=metrics.preprocessed,
    )
    computing = Scheduler(
        "compute",
        workers=workers,
        most_running=most_running,
        batch_tokens=settings.batch_tokens,
        age_bound_seconds=settings.age_bound_seconds,
        costs=costs,
        on_batch=metrics.computed,
    )
    admission = Admission(
        Stage(reading_costs, readers),
        Stage(costs, computing),
        workers=workers,
        queue_tokens=settings.queue_tokens,
        pending_bytes=settings.pending_bytes,
    )
    cache = EmbeddingCache(settings.cache_bytes) if settings.cache_bytes else None
    in_flight = InFlight(
        readers, computing, admission, costs, cache=cache, coalesces=settings.coalesce
    )
    _watch(metrics, readers, computing, admission, cache, workers)
    async with computing, readers:
        yield Encoder(registry, in_flight, admission, metrics, cache)


def _watch(
    metrics: EncoderMetrics,
    readers: Scheduler,
    computing: Scheduler,
    admission: Admission,
    cache: EmbeddingCache | None,
    workers: int,
) -> None:
    def by_lane(read: Callable[[Lane], float]) -> Callable[[], dict[tuple[str, ...], float]]:
        return lambda: {(lane.value,): read(lane) for lane in Lane}

    def oldest(scheduler: Scheduler) -> Callable[[], dict[tuple[str, ...], float]]:
        return lambda: {
            (model, lane.value): seconds
            for (model, lane), seconds in scheduler.oldest_seconds().items()
        }

    metrics.watch(
        "unread_units",
        "Characters or bytes of contents that wait to be decoded and tokenised now.",
        ("lane",),
        by_lane(readers.waiting_tokens),
    )
    metrics.watch(
        "unread_tokens",
        "Tokens, as estimated, of contents that are not decoded and tokenised yet.",
        ("lane",),
        by_lane(admission.held_tokens),
    )
    metrics.watch(
        "unread_oldest_seconds",
        "How long the content has waited that waits longest to be decoded and tokenised.",
        ("model", "lane"),
        oldest(readers),
    )
    metrics.watch(
        "queue_tokens",
        "Tokens that wait for a worker now.",
        ("lane",),
        by_lane(computing.waiting_tokens),
    )
    metrics.watch(
        "pending_bytes",
        "Bytes of contents that are worked on now, waiting included.",
        ("lane",),
        by_lane(admission.held_bytes),
    )
    metrics.watch(
        "queue_oldest_seconds",
        "How long the content or segment has waited that waits longest for a worker.",
        ("model", "lane"),
        oldest(computing),
    )
    metrics.watch(
        "workers",
        "Threads of a stage and lane.",
        ("stage", "lane"),
        lambda: {(stage, lane.value): workers for stage in STAGES for lane in Lane},
    )
    metrics.watch(
        "cache_bytes",
        "Memory that the cache takes, about.",
        (),
        lambda: {(): cache.held_bytes if cache else 0},
    )


def _loader(settings: EncoderSettings) -> Callable[[ModelCard, Progress], TextModel]:
    store = ModelStore(settings.home / "models")

    def load(card: ModelCard, progress: Progress) -> TextModel:
        return TextModel(card, store.built(card, progress), settings.max_text_characters)

    return load


def _reporter(health: Health, metrics: EncoderMetrics) -> Callable[[KnownModel], None]:
    def report(model: KnownModel) -> None:
        ready = model.state is State.READY
        health.set(f"{SERVICE}/{model.card.name}", serving=ready)
        if model.is_default:
            health.set(SERVICE, serving=ready)
        metrics.model_ready(model.card.name, ready=ready)

    return report
