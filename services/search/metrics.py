"""Every metric of the search service beyond those of its calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter, Gauge, Histogram

from searchmesh_common.metrics import SECONDS_BUCKETS

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from searchmesh_search.document_writer import UpsertResult
    from searchmesh_search.journal import Journal
    from searchmesh_search.replica import Replica
    from searchmesh_search.searcher import SearchResult

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
        self._written = Counter(
            "search_documents_written_total",
            "Documents that upserts were given, by outcome: stored or refused.",
            ("outcome",),
            registry=registry,
        )
        self._deleted = Counter(
            "search_documents_deleted_total", "Documents that were deleted.", registry=registry
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
        self._lease_age = Gauge(
            "search_journal_lease_age_seconds",
            "Time since this replica renewed its lease of a journal that others share, in seconds; "
            "0 where nobody does.",
            registry=registry,
        )

    def watch(self, journal: Journal, replica: Replica) -> None:
        """Tell from now on how they are."""
        self._waiting.set_function(lambda: journal.waiting)
        self._lease_age.set_function(lambda: replica.lease_age_seconds)

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

    def upserted(self, result: UpsertResult) -> None:
        """Count the documents of an upsert."""
        refused = sum(error is not None for error in result.errors)
        self._written.labels("refused").inc(refused)
        self._written.labels("stored").inc(len(result.errors) - refused)

    def deleted(self, count: int) -> None:
        """Count deleted documents."""
        self._deleted.inc(count)
