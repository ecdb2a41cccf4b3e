"""What calls answer, as plain immutable values."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime, timedelta

    from searchmesh.contents import Content
    from searchmesh.errors import ServiceError
    from searchmesh.resources import Metric


class Health(enum.StrEnum):
    """What a service says of itself."""

    UNKNOWN = "UNKNOWN"
    SERVING = "SERVING"
    NOT_SERVING = "NOT_SERVING"
    SERVICE_UNKNOWN = "SERVICE_UNKNOWN"


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time of a call to the encoder went, in milliseconds, as the encoder saw it."""

    preprocess_ms: float
    queue_ms: float
    compute_ms: float
    total_ms: float


@dataclass(frozen=True, slots=True)
class TextSpan:
    """A passage of a text: `text[start:end]` of the one that was given."""

    start: int
    end: int
    text: str = ""
    """Empty where the passage goes along with the whole text."""


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedSegment:
    """A part of a content and its own vector."""

    segment: TextSpan | None
    """None for a kind that this version does not know."""
    vector: np.ndarray = field(repr=False)
    """As `Embedding.vector`."""


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """What became of one content: a vector, segments or an error."""

    vector: np.ndarray | None = field(repr=False)
    """(dimension,) float32, or (dimension / 8,) uint8 for a binary model; None beside segments and
    beside an error."""
    segments: Sequence[EmbeddedSegment]
    """In the order of the content, where they were asked for."""
    error: ServiceError | None
    tokens: int
    """Units of the model's input that were encoded, those of all segments."""
    original_tokens: int
    """Units of the content as a whole, before it was truncated or cut."""
    truncated: bool


@dataclass(frozen=True, slots=True, eq=False)
class EncodeResult:
    """Embeddings of contents, in the order given."""

    model: str
    fingerprint: str
    dimension: int
    embeddings: Sequence[Embedding]
    timing: Timing

    @property
    def vectors(self) -> np.ndarray:
        """(contents, dimension) float32; raises the first content's error where there is one.

        With segments: (segments, dimension), those of all contents one after the other.
        """
        rows: list[np.ndarray] = []
        for embedding in self.embeddings:
            if embedding.error:
                raise embedding.error
            rows += [one.vector for one in embedding.segments]
            rows += [embedding.vector] if embedding.vector is not None else []
        return np.stack(rows)


@dataclass(frozen=True, slots=True)
class StreamedResult:
    """The answer to one batch of an `encode_stream`: a result or an error."""

    index: int
    """Of the batch, from 0 in the order given."""
    result: EncodeResult | None
    error: ServiceError | None
    """Why this batch has no result; the others are not affected."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A document that was found."""

    id: str
    score: float
    """Higher is better, always, in the result's metric."""
    attributes: Mapping[str, Any]
    """Those that `output_fields` asked for."""
    content: Content | None
    """Where `output_fields` asked for `$content`."""
    segment: TextSpan | None = None
    """The passage that matched, in a collection of segments."""


@dataclass(frozen=True, slots=True)
class Explain:
    """How an answer came about; times in milliseconds, as the search service saw them."""

    encode_ms: float
    """Call to the encoder."""
    queue_ms: float
    """Of that, waiting for a free worker."""
    search_ms: float
    """Calls to the engine."""
    fuse_ms: float
    """Joining and ordering lists, and reading documents."""
    total_ms: float
    engine: str
    index: str
    model: str
    fingerprint: str
    cache: bool
    """Whether the query's vector came from a cache."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Hits, best first."""

    hits: Sequence[Hit]
    metric: Metric
    partial: bool
    explain: Explain | None

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def __len__(self) -> int:
        return len(self.hits)


@dataclass(frozen=True, slots=True)
class BatchSearchResult:
    """What became of one search of a batch: a result or an error."""

    result: SearchResult | None
    error: ServiceError | None


@dataclass(frozen=True, slots=True)
class RecommendResult:
    """Hits, best first."""

    hits: Sequence[Hit]
    metric: Metric

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def __len__(self) -> int:
        return len(self.hits)


@dataclass(frozen=True, slots=True)
class Vote:
    """A class and its votes."""

    value: str | int | float | bool
    share: float
    """Of the vote, weighted by score, 0 to 1."""
    count: int
    """Documents that voted for it."""


@dataclass(frozen=True, slots=True)
class ClassifyResult:
    """Classes by their share of the vote, greatest first."""

    votes: Sequence[Vote]
    neighbours: Sequence[Hit]
    """The documents that voted, best first."""
    metric: Metric

    def __iter__(self) -> Iterator[Vote]:
        return iter(self.votes)

    def __len__(self) -> int:
        return len(self.votes)


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """An answer that was stored with a question."""

    id: str
    answer: str
    question: str
    score: float
    """How near the stored question is to the one asked."""


@dataclass(frozen=True, slots=True)
class AnswerResult:
    """The answer, and the next best."""

    answer: StoredAnswer | None
    """None where no stored question is near enough."""
    alternatives: Sequence[StoredAnswer]
    """Best first, near enough or not."""
    metric: Metric


@dataclass(frozen=True, slots=True)
class Facet:
    """A value of an attribute, and the documents that have it."""

    value: str | int | float | bool
    count: int


@dataclass(frozen=True, slots=True)
class FacetResult:
    """Values by their count, greatest first."""

    facets: Sequence[Facet]
    other_count: int
    """Documents that have another value than these."""

    def __iter__(self) -> Iterator[Facet]:
        return iter(self.facets)

    def __len__(self) -> int:
        return len(self.facets)


@dataclass(frozen=True, slots=True)
class UpsertResult:
    """What became of one document."""

    id: str
    error: ServiceError | None
    """None when it is stored and searchable."""


@dataclass(frozen=True, slots=True)
class UpsertBatch:
    """What became of the documents of one call."""

    results: Sequence[UpsertResult]
    """In the order given."""
    write_token: str
    """For `read_after`. Empty when nothing was stored."""

    @property
    def stored_count(self) -> int:
        return sum(result.error is None for result in self.results)


@dataclass(frozen=True, slots=True)
class UpsertFailure:
    """A document that was not stored."""

    position: int
    """Its place among all documents given, from 0."""
    id: str
    error: ServiceError


@dataclass(frozen=True, slots=True)
class UpsertSummary:
    """What became of all documents of an `upsert`."""

    stored_count: int
    failures: Sequence[UpsertFailure]
    write_token: str
    """For `read_after`: every write of this upsert. Empty when nothing was stored, and when calls
    ran in parallel, whose order nobody knows; they are searchable all the same."""


@dataclass(frozen=True, slots=True)
class DeleteResult:
    """What a deletion did."""

    deleted_count: int
    """Documents that were there and are deleted."""
    write_token: str
    """For `read_after`. Empty when nothing was deleted."""


class ImportState(enum.StrEnum):
    """What an import is doing."""

    UNSPECIFIED = "UNSPECIFIED"
    RECEIVING = "RECEIVING"
    """Documents are arriving; those that have are encoded and stored meanwhile."""
    RUNNING = "RUNNING"
    """All have arrived; they are being encoded and stored."""
    SUCCEEDED = "SUCCEEDED"
    """All are searchable or set aside."""
    CANCELLED = "CANCELLED"
    """Stopped on request; what was stored stays."""
    FAILED = "FAILED"
    """Could not go on; what was stored stays."""

    @property
    def has_ended(self) -> bool:
        return self in (ImportState.SUCCEEDED, ImportState.CANCELLED, ImportState.FAILED)


@dataclass(frozen=True, slots=True)
class ImportFailure:
    """A document that an import set aside, or that could not be sent."""

    position: int
    """Its place among all documents given, from 0."""
    id: str
    error: ServiceError


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """How far an import is. Every count is of documents and only ever grows."""

    collection: str
    request_id: str
    state: ImportState
    received_count: int
    """On the service's disk: nothing of these is lost any more."""
    encoded_count: int
    stored_count: int
    searchable_count: int
    failed_count: int
    """Set aside as faulty."""
    failures: Sequence[ImportFailure]
    """The first 100 that were set aside; `list_import_failures` has them all."""
    documents_per_second: float
    """Over the last ten seconds."""
    time_left: timedelta | None
    """Estimate for what was received; None while there is none."""
    create_time: datetime | None
    update_time: datetime | None
    end_time: datetime | None
    write_token: str
    """For `read_after`: what is searchable so far."""
    waiting_for: ServiceError | None
    """Why nothing gets on at present; it is tried again until it succeeds."""
    error: ServiceError | None
    """Why it FAILED."""


@dataclass(frozen=True, slots=True)
class Operation:
    """Long work of the mesh's, as the service keeps it."""

    name: str
    """`operations/…`."""
    done: bool
    progress: ImportProgress | None
    """None for work of a kind that this version does not know."""
    error: ServiceError | None
    """Why it ended early."""
