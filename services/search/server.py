"""The composition root of the search service: every object is made here, once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from google.longrunning import operations_pb2_grpc

from searchmesh.search.v1 import (
    collection_service_pb2_grpc,
    document_service_pb2_grpc,
    search_service_pb2_grpc,
)
from searchmesh_common.channels import Credentials, Target, aio_channel
from searchmesh_common.health import Check
from searchmesh_common.metrics import new_registry
from searchmesh_common.ports import StartError, read_tokens
from searchmesh_common.server import Server
from searchmesh_search import (
    collection_servicer,
    document_servicer,
    operations_servicer,
    search_servicer,
)
from searchmesh_search.answerer import Answerer
from searchmesh_search.batch_searcher import BatchSearcher
from searchmesh_search.classifier import Classifier
from searchmesh_search.collection_servicer import CollectionServicer
from searchmesh_search.collections import Collections
from searchmesh_search.content_collector import ContentCollector
from searchmesh_search.content_store import ContentStore
from searchmesh_search.convert.documents import read_answer, read_attribute, read_stored
from searchmesh_search.deadline import Deadline
from searchmesh_search.document_servicer import DocumentServicer
from searchmesh_search.document_writer import DocumentWriter
from searchmesh_search.documents import Documents
from searchmesh_search.embedded_rows import EmbeddedRows
from searchmesh_search.encoder_client import ENCODER_SERVICE, EncoderClient
from searchmesh_search.engine_losses import report_losses
from searchmesh_search.exporter import Exporter
from searchmesh_search.filter_deletes import FilterDeletes
from searchmesh_search.found_rows import FoundRows
from searchmesh_search.imports.batches import Batches
from searchmesh_search.imports.changes import Changes
from searchmesh_search.imports.housekeeping import Housekeeping
from searchmesh_search.imports.importer import Importer
from searchmesh_search.imports.operations import Operations
from searchmesh_search.imports.rates import Rates
from searchmesh_search.imports.receiver import Receiver
from searchmesh_search.journal import Journal
from searchmesh_search.matching import Matching
from searchmesh_search.metrics import ImportMetrics, SearchMetrics
from searchmesh_search.milvus_engine import MilvusEngine
from searchmesh_search.operations_servicer import OperationsServicer
from searchmesh_search.query_vectors import QueryVectors
from searchmesh_search.recommender import Recommender
from searchmesh_search.refiner import Refiner
from searchmesh_search.replica import Replica
from searchmesh_search.search_servicer import SearchServicer
from searchmesh_search.searcher import Searcher
from searchmesh_search.sweeper import InHand, Sweeper

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    from searchmesh_search.engine import Engine
    from searchmesh_search.settings import SearchSettings

_log = logging.getLogger("searchmesh.search")

RECOVERY_SECONDS = 60.0
"""Time to undo what a process before this one left half done."""


@asynccontextmanager
async def build_server(settings: SearchSettings) -> AsyncIterator[Server]:
    """The search service's server, not yet started; see `Server`.

    Raises what stops a start: an unusable setting, a journal that cannot be opened. The engine and
    the encoder may be away: health says so until they are back.
    """
    registry = new_registry("search")
    metrics = SearchMetrics(registry)
    async with AsyncExitStack() as resources:
        journal = Journal(settings.journal_url, readers=settings.journal_readers, listener=metrics)
        await journal.open()
        resources.push_async_callback(journal.close)
        contents = ContentStore(settings.contents_folder)
        await contents.open()
        resources.push_async_callback(contents.close)
        engine = MilvusEngine(settings.engine_uri, settings.engine_token)
        await engine.start()
        resources.push_async_callback(engine.close)
        channel = aio_channel(_encoder_target(settings))
        resources.push_async_callback(channel.close)
        encoder = EncoderClient(channel, query_share=settings.encoder_query_share)

        replica = Replica(journal, lease_seconds=settings.lease_seconds)
        await replica.join(Deadline.after(RECOVERY_SECONDS))
        resources.push_async_callback(replica.leave)
        metrics.watch(journal, replica)
        in_hand = InHand(replica.id)
        housekeeping = Housekeeping(
            journal,
            kept_seconds=settings.import_kept_seconds,
            resume_seconds=settings.import_resume_seconds,
        )
        sweeper = Sweeper(journal, engine, in_hand, more=[housekeeping.sweep, journal.compact])
        await sweeper.recover(Deadline.after(RECOVERY_SECONDS))
        collections = Collections(journal, engine, encoder, sweeper, in_hand)
        documents = Documents(journal, contents, engine)
        writer = DocumentWriter(
            journal, contents, engine, encoder.encode_documents, sweeper, in_hand
        )
        matching = Matching(journal, engine)
        filter_deletes = FilterDeletes(journal, matching, sweeper)
        searcher = Searcher(journal, collections, documents, engine, encoder.encode_query)
        refiner = Refiner(searcher, FoundRows(journal, engine), encoder.encode_query)
        batch_searcher = BatchSearcher(
            collections, refiner, encoder.encode_query, encoder.encode_queries
        )
        vectors = QueryVectors(documents, encoder.encode_queries)
        recommender = Recommender(collections, documents, searcher, vectors)
        classifier = Classifier(collections, searcher, vectors, read_attribute)
        answerer = Answerer(collections, searcher, vectors, read_answer)
        exporter = Exporter(documents, contents)

        server = Server(settings, registry)
        import_metrics = ImportMetrics(registry)
        changes = Changes()
        batches = Batches(
            journal, contents, engine, encoder.encode_documents, read_stored, import_metrics
        )
        importer = Importer(
            journal,
            batches,
            changes,
            import_metrics,
            in_hand.owner,
            wake_sweeper=sweeper.wake,
        )
        receiver = Receiver(
            journal,
            contents,
            changes,
            import_metrics,
            draining=server.draining,
            wake_importer=importer.wake,
        )
        rates = Rates(journal, import_metrics)
        operations = Operations(
            journal, changes, rates, draining=server.draining, wake_sweeper=sweeper.wake
        )
        _add_services(
            server,
            CollectionServicer(collections),
            DocumentServicer(
                collections,
                documents,
                writer,
                matching,
                filter_deletes,
                exporter,
                receiver,
                operations,
                metrics,
                draining=server.draining,
                validate=server.validator.validate,
            ),
            SearchServicer(
                collections,
                refiner,
                batch_searcher,
                recommender,
                classifier,
                answerer,
                matching,
                metrics,
                validate=server.validator.validate,
            ),
            OperationsServicer(operations),
        )
        for check in _storage_checks(settings, engine, journal, replica, contents):
            server.health.add_check(check)
        if settings.has_embedded_engine:
            metrics.watch_engine_file(Path(settings.engine_uri))
            rows = EmbeddedRows(journal, engine, metrics, settings.embedded_rows_warning)
            counting = rows.run(settings.embedded_rows_interval_seconds)
            await resources.enter_async_context(_in_background(counting, "count of rows"))
        collector = ContentCollector(journal, contents, metrics)
        for work, name in (
            (replica.run(), "lease"),
            (collector.run(settings.collect_interval_seconds), "collector of contents"),
            (sweeper.run(), "sweeper"),
            (importer.run(settings.import_workers), "importer"),
            (rates.run(), "rates of imports"),
            (report_losses(journal, engine), "report of losses"),
        ):
            await resources.enter_async_context(_in_background(work, name))
        yield server


def _add_services(
    server: Server,
    collections: CollectionServicer,
    documents: DocumentServicer,
    search: SearchServicer,
    operations: OperationsServicer,
) -> None:
    server.add(
        collection_service_pb2_grpc.add_CollectionServiceServicer_to_server,
        collections,
        collection_servicer.SERVICE,
    )
    server.add(
        document_service_pb2_grpc.add_DocumentServiceServicer_to_server,
        documents,
        document_servicer.SERVICE,
    )
    server.add(
        search_service_pb2_grpc.add_SearchServiceServicer_to_server,
        search,
        search_servicer.SERVICE,
    )
    server.add(
        operations_pb2_grpc.add_OperationsServicer_to_server,
        operations,
        operations_servicer.SERVICE,
    )


def _encoder_target(settings: SearchSettings) -> Target:
    """Raises StartError where the settings do not fit together, or a file cannot be read."""
    if not settings.encoder:
        raise StartError("SEARCH_ENCODER is empty: name the encoder's address, as host:port")
    given = (
        settings.encoder_ca,
        settings.encoder_certificate,
        settings.encoder_key,
        settings.encoder_token_file,
    )
    if not settings.encoder_tls:
        if any(given):
            raise StartError(
                "SEARCH_ENCODER_CA, _CERTIFICATE, _KEY and _TOKEN_FILE need SEARCH_ENCODER_TLS=true"
            )
        credentials = None
    else:
        if (settings.encoder_certificate is None) != (settings.encoder_key is None):
            raise StartError("SEARCH_ENCODER_CERTIFICATE and SEARCH_ENCODER_KEY go together")
        credentials = Credentials(
            ca=settings.encoder_ca,
            certificate=settings.encoder_certificate,
            key=settings.encoder_key,
            token=_encoder_token(settings.encoder_token_file),
        )
    return Target(
        settings.encoder,
        credentials,
        health_service=ENCODER_SERVICE,
        max_message_bytes=settings.max_message_bytes,
        attempts=settings.encoder_attempts,
        keepalive_seconds=settings.encoder_keepalive_seconds,
        resolve_seconds=settings.encoder_resolve_seconds,
    )


def _encoder_token(path: Path | None) -> str | None:
    """Raises StartError where the file holds more than the one token that a call can carry."""
    tokens = read_tokens(path)
    if tokens is None:
        return None
    if len(tokens) > 1:
        raise StartError(
            f"{path} holds {len(tokens)} tokens; SEARCH_ENCODER_TOKEN_FILE takes the one to call "
            "the encoder with"
        )
    return next(iter(tokens))


def _storage_checks(
    settings: SearchSettings,
    engine: Engine,
    journal: Journal,
    replica: Replica,
    contents: ContentStore,
) -> tuple[Check, Check]:
    """All three services need the engine and the journal, and that of documents a place for their
    contents; vector and id searches work without the encoder, so it does not count."""
    timeout = settings.health_timeout_seconds

    async def probe() -> None:
        await asyncio.gather(
            engine.ping(timeout), journal.ping(Deadline.after(timeout)), replica.check()
        )

    async def probe_all() -> None:
        await asyncio.gather(probe(), contents.ping(Deadline.after(timeout)))

    def check(probe: Callable[[], Awaitable[None]], *names: str) -> Check:
        return Check(
            names,
            probe,
            interval_seconds=settings.health_interval_seconds,
            timeout_seconds=timeout,
        )

    return (
        check(probe, collection_servicer.SERVICE, search_servicer.SERVICE),
        check(probe_all, document_servicer.SERVICE),
    )


@asynccontextmanager
async def _in_background(work: Coroutine[None, None, None], name: str) -> AsyncIterator[None]:
    """Runs beside the block and ends with it. Work that fails is logged at once, and its error
    raised when the block ends."""
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_log_failure)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception():
        _log.critical("%s ended", task.get_name(), exc_info=task.exception())
