"""Every metric of the search service beyond those of its calls."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

from searchmesh_common.errors import ServiceError
from searchmesh_common.metrics import SECONDS_BUCKETS
from searchmesh_search.sqlite_size import size_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from prometheus_client import CollectorRegistry

    from searchmesh_search.answerer import Answered
    from searchmesh_search.journal import Journal
    from searchmesh_search.replica import Replica
    from searchmesh_search.searcher import SearchResult
    from searchmesh_search.upsert_results import UpsertResult

# the powers of two up to the most operations in one transaction of the journal
_OPERATIONS_BUCKETS = (1, 2, 4, 8, 16, 32, 64)


class SearchMetrics:
    """Every metric of the search service beyond those of its calls."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._stage_seconds = Histogram(
            "search_stage_seconds",
            "Time that a search spent in a stage: encode (the call to the encoder), engine (calls "
            "to the engine), fuse (checking and reading documents), in seconds.",
            ("stage",),
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self._hits = Counter("search_hits_total", "Hits that searches answered.", registry=registry)
        self._batched = Counter(
            "search_batch_searches_total",
            "Searches that came in batches, by outcome: answered or failed.",
            ("outcome",),
            registry=registry,
        )
        self._questions = Counter(
            "search_questions_total",
            "Questions that were asked, by outcome: answered, or unanswered as no stored one was "
            "near enough.",
            ("outcome",),
            registry=registry,
        )
        self._written = Counter(
            "search_documents_written_total",
            "Documents that upserts were given, by outcome: stored or refused.",
            ("outcome",),
            registry=registry,
        )
        self._deleted = Counter(
            "search_documents_deleted_total", "Documents that were deleted.", registry=registry
        )
        self._exported = Counter(
            "search_documents_exported_total", "Documents that were exported.", registry=registry
        )
        self._commit_seconds = Histogram(
            "search_journal_commit_seconds",
            "Time from the beginning of a transaction of the journal, the wait for other replicas "
            "included, to its commit, in seconds.",
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self._commit_operations = Histogram(
            "search_journal_commit_operations",
            "Writes that share one transaction of the journal.",
            buckets=_OPERATIONS_BUCKETS,
            registry=registry,
        )
        self._waiting = Gauge(
            "search_journal_waiting",
            "Writes that wait for a transaction of the journal.",
            registry=registry,
        )
        self._contents_bytes = Gauge(
            "search_contents_bytes",
            "Size of the content store as last counted, by state: live (in use) or dead, in bytes.",
            ("state",),
            registry=registry,
        )
        self._contents_packs = Gauge(
            "search_contents_packs",
            "Files of the content store, as last counted.",
            registry=registry,
        )
        self._journal_bytes = Gauge(
            "search_journal_bytes",
            "Size of the journal's file and its log, in bytes; 0 where a server keeps it.",
            registry=registry,
        )
        self._engine_bytes = Gauge(
            "search_embedded_bytes",
            "Size of the embedded engine's file and its log, in bytes; 0 with a server.",
            registry=registry,
        )
        self._embedded_rows = Gauge(
            "search_embedded_rows",
            "Rows of the embedded engine's largest collection, as last counted; 0 with a server.",
            registry=registry,
        )
        self._lease_age = Gauge(
            "search_journal_lease_age_seconds",
            "Time since this replica renewed its lease of a journal that others share, in seconds; "
            "0 where nobody does.",
            registry=registry,
        )

    def watch(self, journal: Journal, replica: Replica) -> None:
        """Tell from now on how they are."""
        self._waiting.set_function(lambda: journal.waiting)
        self._journal_bytes.set_function(lambda: journal.size_bytes)
        self._lease_age.set_function(lambda: replica.lease_age_seconds)

    def watch_engine_file(self, path: Path) -> None:
        """Tell from now on what the embedded engine's file takes."""
        self._engine_bytes.set_function(lambda: size_bytes(path))

    def embedded_rows(self, rows: int) -> None:
        """Tell the rows of the embedded engine's largest collection."""
        self._embedded_rows.set(rows)

    def contents(self, packs: int, live_bytes: int, dead_bytes: int) -> None:
        """Tell what the content store takes."""
        self._contents_packs.set(packs)
        self._contents_bytes.labels("live").set(live_bytes)
        self._contents_bytes.labels("dead").set(dead_bytes)

    def committed(self, operations: int, seconds: float) -> None:
        """Count a transaction of the journal."""
        self._commit_operations.observe(operations)
        self._commit_seconds.observe(seconds)

    def searched(self, result: SearchResult) -> None:
        """Count a search that was answered."""
        explanation = result.explanation
        if explanation.model:
            self._stage_seconds.labels("encode").observe(explanation.encode_ms / 1000)
        self._stage_seconds.labels("engine").observe(explanation.search_ms / 1000)
        self._stage_seconds.labels("fuse").observe(explanation.fuse_ms / 1000)
        self._hits.inc(len(result.hits))

    def batch_searched(self, outcomes: Sequence[SearchResult | ServiceError]) -> None:
        """Count the searches of a batch."""
        for one in outcomes:
            if isinstance(one, ServiceError):
                self._batched.labels("failed").inc()
            else:
                self._batched.labels("answered").inc()
                self.searched(one)

    def answered(self, answered: Answered) -> None:
        """Count a question."""
        self._questions.labels("answered" if answered.answer else "unanswered").inc()
        self.searched(answered.result)

    def upserted(self, result: UpsertResult) -> None:
        """Count the documents of an upsert."""
        refused = sum(error is not None for error in result.errors)
        self._written.labels("refused").inc(refused)
        self._written.labels("stored").inc(len(result.errors) - refused)

    def deleted(self, count: int) -> None:
        """Count deleted documents."""
        self._deleted.inc(count)

    def exported(self, count: int) -> None:
        """Count documents of an export."""
        self._exported.inc(count)


class ImportMetrics:
    """What this replica does for imports."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._documents = Counter(
            "search_import_documents_total",
            "Documents of imports, by stage: received (on disk), encoded, searchable, or failed "
            "(set aside).",
            ("stage",),
            registry=registry,
        )
        self._stage_seconds = Histogram(
            "search_import_stage_seconds",
            "Time that a batch of an import spent in a stage: receive (putting it on disk), read "
            "(reading it back and checking it), encode, store (the engine), finish (the journal), "
            "in seconds.",
            ("stage",),
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self._in_hand = Gauge(
            "search_import_batches_in_hand",
            "Batches of imports that this replica works on.",
            registry=registry,
        )
        self._waiting = Gauge(
            "search_import_batches_waiting",
            "Batches of imports that are not stored yet, of all replicas.",
            registry=registry,
        )
        self._oldest_seconds = Gauge(
            "search_import_oldest_batch_seconds",
            "Time since the oldest batch was received that is not stored yet, of all replicas, in "
            "seconds; 0 where there is none.",
            registry=registry,
        )
        self._put_off = Counter(
            "search_import_batches_put_off_total",
            "Times that a batch could not be stored and was put off.",
            registry=registry,
        )

    @contextmanager
    def receiving(self, documents: int) -> Iterator[None]:
        """Around putting a batch on disk."""
        with self.stage("receive"):
            yield
        self._documents.labels("received").inc(documents)

    def stage(self, name: str) -> AbstractContextManager[object]:
        """Around a stage of a batch."""
        return self._stage_seconds.labels(name).time()

    def in_hand(self) -> AbstractContextManager[object]:
        """Around all the work on a batch."""
        return self._in_hand.track_inprogress()

    def encoded(self, count: int) -> None:
        """Count documents that were encoded."""
        self._documents.labels("encoded").inc(count)

    def stored(self, searchable: int, failed: int) -> None:
        """Count the documents of a batch that is done."""
        self._documents.labels("searchable").inc(searchable)
        self._documents.labels("failed").inc(failed)

    def put_off(self) -> None:
        """Count a batch that was put off."""
        self._put_off.inc()

    def waiting(self, count: int, oldest_seconds: float) -> None:
        """Tell how many batches wait, and for how long the first has."""
        self._waiting.set(count)
        self._oldest_seconds.set(oldest_seconds)
