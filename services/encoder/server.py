"""Composition root of the encoder: builds each object, once."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from searchmesh.encoder.v1.encoder_service_pb2_grpc import add_EncoderServiceServicer_to_server
from searchmesh_common.metrics import new_registry
from searchmesh_common.server import Server
from searchmesh_encoder.cpus import available_cpus
from searchmesh_encoder.encoder import Encoder
from searchmesh_encoder.metrics import EncoderMetrics
from searchmesh_encoder.models.catalogue import read_catalogue
from searchmesh_encoder.models.store import ModelStore
from searchmesh_encoder.registry import ModelRegistry, State
from searchmesh_encoder.scheduler import Scheduler
from searchmesh_encoder.servicer import SERVICE, EncoderServicer
from searchmesh_encoder.text_model import TextModel

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
    workers = settings.workers or available_cpus()
    cards = await asyncio.to_thread(read_catalogue, settings.cards)
    registry = ModelRegistry(
        cards,
        tuple(dict.fromkeys((settings.default_model, *settings.models))),
        _loader(settings),
        _reporter(server.health, metrics),
    )
    scheduler = Scheduler(
        workers=workers,
        batch_tokens=settings.batch_tokens,
        queue_tokens=settings.queue_tokens,
        on_batch=metrics.batch,
    )
    metrics.watch_queue(lambda: scheduler.waiting_tokens)
    encoder = Encoder(registry, scheduler, metrics, preprocess_threads=workers)
    servicer = EncoderServicer(
        encoder,
        registry,
        validate=server.validator.validate,
        draining=server.draining,
        stream_requests=settings.stream_requests,
    )
    server.add(add_EncoderServiceServicer_to_server, servicer, SERVICE)
    async with scheduler, encoder, registry:
        yield server


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
