"""The vector engine as the search service sees it: rows in, nearest rows out.

An engine stores rows in physical collections and knows nothing of documents' contents, of models or
of the names that callers use. What an engine would silently ignore is refused before it is called,
by its declared capabilities.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from searchmesh_common.errors import FailedPrecondition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from searchmesh_search.filters.filter import Filter


class Metric(enum.Enum):
    """How near two vectors are. A score is higher for a better hit, whatever the metric."""

    COSINE = "cosine"
    """Score: the cosine, -1 to 1."""
    INNER_PRODUCT = "inner_product"
    """Score: the inner product, unbounded."""
    EUCLIDEAN = "euclidean"
    """Score: minus the Euclidean distance, at most 0."""
    JACCARD = "jaccard"
    """Binary vectors. Score: the Tanimoto similarity, 0 to 1."""
    HAMMING = "hamming"
    """Binary vectors. Score: minus the number of differing bits."""


BINARY_METRICS = frozenset({Metric.JACCARD, Metric.HAMMING})


class VectorKind(enum.Enum):
    """What a vector's components are."""

    FLOAT = "float"
    BINARY = "binary"


class FieldType(enum.Enum):
    """Type of a declared attribute field, which the engine can filter on."""

    STRING = "string"
    INT64 = "int64"
    DOUBLE = "double"
    BOOL = "bool"


MAX_STRING_BYTES = 65_535
"""Of a declared string in UTF-8: what a VARCHAR of Milvus holds."""


@dataclass(frozen=True, slots=True)
class DeclaredField:
    """An attribute that the engine stores as a column; always nullable."""

    name: str
    type: FieldType


@dataclass(frozen=True, slots=True)
class Index:
    """How a collection is searched.

    `FLAT` compares with every row, `IVF_FLAT` and `HNSW` with some.
    """

    type: str = "FLAT"
    parameters: Mapping[str, int] = field(default_factory=dict)
    """By the contract's names; see indexes.py. One that is left out has its default."""


@dataclass(frozen=True, slots=True)
class Lexical:
    """How a collection is searched by words: BM25, whose ranges and analyzers are in lexical.py."""

    analyzer: str = "english"
    """How text becomes words."""
    k1: float = 1.2
    """How much a word counts that comes often in a text."""
    b: float = 0.75
    """How much a text's length counts against it."""


@dataclass(frozen=True, slots=True)
class CollectionSchema:
    """What a physical collection holds. Fixed when it is created."""

    dimension: int
    """Components of a vector; for BINARY, bits, a multiple of 8."""
    metric: Metric
    kind: VectorKind = VectorKind.FLOAT
    fields: Sequence[DeclaredField] = ()
    index: Index = field(default_factory=Index)
    lexical: Lexical | None = None
    """None where it is not searched by words."""


@dataclass(frozen=True, slots=True)
class Row:
    """One segment of one generation of one document."""

    document_id: str
    """1 to 256 bytes of UTF-8, no control characters."""
    generation: int
    """Grows with every write of a collection; readers see one generation of a document."""
    segment: int
    """0 for a document that is one vector."""
    vector: np.ndarray
    """(dimension,) float32, or (dimension / 8,) uint8 of packed bits for BINARY."""
    fields: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    text: str = ""
    """What it is found by where the collection is searched by words: the first MAX_STRING_BYTES."""

    @property
    def key(self) -> str:
        """Primary key in the engine."""
        return row_key(self.document_id, self.generation, self.segment)


@dataclass(frozen=True, slots=True)
class EngineHit:
    """A row near the query."""

    document_id: str
    generation: int
    segment: int
    score: float
    """By the collection's metric, or BM25 of a search by words; higher is better."""


@dataclass(frozen=True, slots=True)
class FoundRow:
    """The first row of a generation of a document that a filter is true for."""

    document_id: str
    generation: int
    value: str | int | float | bool | None = None
    """Of the field that was asked for; None where the row has none."""

    @property
    def key(self) -> str:
        """Primary key in the engine."""
        return row_key(self.document_id, self.generation, 0)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do; the service refuses the rest with FAILED_PRECONDITION."""

    name: str
    version: str
    metrics: frozenset[Metric]
    kinds: frozenset[VectorKind]
    indexes: frozenset[str]
    """For float vectors."""
    max_limit: int
    """Most rows one search may ask for, offset included."""
    max_dimension: int
    max_filter_bytes: int
    """Of a filter as the engine is asked; a term takes some 10 to 30 beside its value."""
    max_filter_depth: int
    """Conditions joined within each other, as the engine is asked."""
    min_dimension: int = 2
    binary_indexes: frozenset[str] = frozenset({"FLAT"})
    analyzers: frozenset[str] = frozenset()
    """For search by words; none where it has no such search."""
    had_by: str = ""
    """How an operator comes to this engine."""
    others: Sequence[Capabilities] = ()
    """The engines that this one could be exchanged for."""

    def require(self, schema: CollectionSchema) -> None:
        """Raises FailedPrecondition, reason ENGINE_LACKS, for what the engine would refuse or,
        worse, get wrong.
        """
        lacks = self.lacking(schema)
        if lacks:
            able = [one for one in self.others if not one.lacking(schema)]
            raise self._lack(", ".join(lacks), able)

    def require_filter(self, size: int, depth: int) -> None:
        """size: bytes of a filter as the engine is asked. depth: as for `max_filter_depth`. Raises
        as `require`.
        """
        if not self.has_room(size, depth):
            able = [one for one in self.others if one.has_room(size, depth)]
            raise self._lack(
                f"room for a filter that is {size} bytes long and {depth} levels deep as it is "
                f"asked (at most {self.max_filter_bytes} and {self.max_filter_depth})",
                able,
            )

    def has_room(self, size: int, depth: int) -> bool:
        """Whether the engine can be asked a filter."""
        return size <= self.max_filter_bytes and depth <= self.max_filter_depth

    def _lack(self, what: str, able: Sequence[Capabilities]) -> FailedPrecondition:
        has_it = " or ".join(f"the engine {one.name} has it ({one.had_by})" for one in able)
        return FailedPrecondition(
            "ENGINE_LACKS",
            f"the engine {self.name} {self.version} does not have {what}; "
            + (has_it or "no engine of this service has it"),
            {"engine": self.name, "engines_that_have_it": ",".join(one.name for one in able)},
        )

    def lacking(self, schema: CollectionSchema) -> list[str]:
        """What a collection needs and the engine does not have, in words."""
        binary = schema.kind is VectorKind.BINARY
        indexes = self.binary_indexes if binary else self.indexes
        lacks = []
        if schema.kind not in self.kinds:
            lacks.append(f"{schema.kind.value} vectors")
        if schema.metric not in self.metrics:
            lacks.append(f"metric {schema.metric.value}")
        elif (schema.metric in BINARY_METRICS) != binary:
            lacks.append(f"metric {schema.metric.value} for {schema.kind.value} vectors")
        if schema.index.type not in indexes:
            has = ", ".join(sorted(indexes))
            lacks.append(
                f"index {schema.index.type} for {schema.kind.value} vectors (it has {has})"
            )
        if not self.min_dimension <= schema.dimension <= self.max_dimension:
            lacks.append(
                f"dimension {schema.dimension} (from {self.min_dimension} to {self.max_dimension})"
            )
        if schema.lexical is not None and schema.lexical.analyzer not in self.analyzers:
            lacks.append(f"search by words with the analyzer {schema.lexical.analyzer}")
        return lacks


class Engine(Protocol):
    """A vector engine. Every method honours `timeout` (seconds) and raises only our error family:

    `Unavailable` when the engine is away, `DeadlineExceeded` when the time ran out, `NotFound` for
    a physical collection that is missing, `FailedPrecondition` for what the engine lacks.
    """

    @property
    def capabilities(self) -> Capabilities: ...

    async def start(self) -> None:
        """Connect, and start the engine's process where it is ours. Does not wait until it answers.

        Raises StartError where the process cannot be had, its file being in use for example.
        """

    async def close(self) -> None:
        """Disconnect, and stop the engine's process where it is ours."""

    async def ping(self, timeout: float) -> None:
        """Make a real call; raises `Unavailable` or `DeadlineExceeded` when there is no answer."""

    async def create_collection(
        self, physical: str, schema: CollectionSchema, timeout: float
    ) -> None:
        """Create, index and load a collection.

        Repeating it with the same schema is no error, with another it is AlreadyExists.
        Raises FailedPrecondition, reason ENGINE_LACKS, for what the capabilities do not name.
        """

    async def drop_collection(self, physical: str, timeout: float) -> None:
        """Drop a collection. Dropping one that is missing is no error."""

    async def has_collection(self, physical: str, timeout: float) -> bool:
        """Whether a collection is there; never answered from memory."""

    async def list_collections(self, timeout: float) -> list[str]:
        """Names of the physical collections there are."""

    async def insert(self, physical: str, rows: Sequence[Row], timeout: float) -> bytes:
        """Store rows, replacing rows of equal key; of equal keys in one call the last counts.

        When this returns they are on disk, and every search that begins then sees them. Large
        calls are cut into several: when this raises, any of the rows may be stored, or be stored
        still, and repeating the call is safe.
        Returns an opaque token; see `search`. Raises InvalidRequest for a row of another shape.
        """

    async def delete(self, physical: str, keys: Sequence[str], timeout: float) -> bytes:
        """Remove rows by key; a key that is missing is no error. Cut, seen and repeated like
        `insert`.

        Returns an opaque token; see `search`.
        """

    async def search(
        self,
        physical: str,
        vectors: np.ndarray,
        limit: int,
        timeout: float,
        *,
        where: Filter | None = None,
        read_after: bytes = b"",
    ) -> list[list[EngineHit]]:
        """Nearest rows of each query vector, best first.

        vectors: (queries, dimension) float32, or (queries, dimension / 8) uint8.
        limit: 1 to capabilities.max_limit rows for each query.
        where: only rows that it is true for; checked against the fields of the collection. Raises
        FailedPrecondition, reason ENGINE_LACKS, for what the engine cannot be asked.
        read_after: a token of `insert` or `delete` whose effect must be visible, whatever happened
        to the engine since. Any process may use it that calls the same engine.
        """

    async def search_words(
        self,
        physical: str,
        text: str,
        limit: int,
        timeout: float,
        *,
        where: Filter | None = None,
        read_after: bytes = b"",
    ) -> list[EngineHit]:
        """Rows that have a word of the text, by BM25, best first; in a collection with `lexical`.

        text: at most MAX_STRING_BYTES. The others as for `search`.
        """

    async def query(
        self,
        physical: str,
        where: Filter | None,
        limit: int,
        timeout: float,
        *,
        after: str = "",
        keys: Sequence[str] = (),
        field: str = "",
    ) -> list[FoundRow]:
        """First rows of generations that a filter is true for, in the engine's own order of keys,
        after every acknowledged write.

        limit: 1 to capabilities.max_limit - 1 rows. where: as for `search`; None: all.
        after: key of the row that the answer before ended with; those that follow come.
        keys: only among these, where there are any; at most 500. field: declared; its values come.
        """

    async def vectors(
        self, physical: str, keys: Sequence[str], timeout: float
    ) -> dict[str, np.ndarray]:
        """Stored vectors by row key, as `Row.vector`; a key that is missing is left out."""

    async def values(
        self, physical: str, keys: Sequence[str], field: str, timeout: float
    ) -> dict[str, str | int | float | bool | None]:
        """Values of a declared field by row key, None where a row has none; a key that is missing
        is left out.
        """

    async def count_rows(self, physical: str, timeout: float) -> int:
        """Rows there are, all generations and segments counted, after every acknowledged write."""


def row_key(document_id: str, generation: int, segment: int) -> str:
    """Key of a row: `document#generation#segment`, at most 300 bytes."""
    return f"{document_id}#{generation}#{segment}"


def row_keys(document_id: str, generation: int, segments: int) -> list[str]:
    """Keys of all rows of a document's generation, one for each segment."""
    return [row_key(document_id, generation, segment) for segment in range(segments)]
