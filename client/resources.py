"""What the mesh keeps: collections, documents and models, as plain immutable values.

A field that is "output only" is set by the mesh and ignored where a value is sent.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import numpy as np

    from searchmesh.contents import Content
    from searchmesh.results import EmbeddedSegment


class Metric(enum.StrEnum):
    """How near two vectors are. A score is higher for a better hit, whatever the metric."""

    UNSPECIFIED = "UNSPECIFIED"
    """The default of the vector kind: COSINE, or JACCARD for binary vectors."""
    COSINE = "COSINE"
    """Score: -1 to 1."""
    INNER_PRODUCT = "INNER_PRODUCT"
    """Score: unbounded."""
    EUCLIDEAN = "EUCLIDEAN"
    """Score: minus the distance, 0 at best."""
    JACCARD = "JACCARD"
    """Binary vectors only. Score: the Tanimoto similarity, 0 to 1."""
    HAMMING = "HAMMING"
    """Binary vectors only. Score: minus the number of differing bits, 0 at best."""
    BM25 = "BM25"
    """Of answers by words only. Score: more than 0, unbounded."""
    RANK_FUSION = "RANK_FUSION"
    """Of hybrid answers only. Score: more than 0."""


class VectorKind(enum.StrEnum):
    """What a vector's components are."""

    UNSPECIFIED = "UNSPECIFIED"
    FLOAT = "FLOAT"
    BINARY = "BINARY"


class FieldType(enum.StrEnum):
    """Type of a declared attribute."""

    UNSPECIFIED = "UNSPECIFIED"
    STRING = "STRING"
    INT64 = "INT64"
    """A number without a fraction, less than 2^53 in magnitude."""
    DOUBLE = "DOUBLE"
    BOOL = "BOOL"


class IndexType(enum.StrEnum):
    """How the engine finds neighbours."""

    UNSPECIFIED = "UNSPECIFIED"
    FLAT = "FLAT"
    """Compares with every vector: exact."""
    IVF_FLAT = "IVF_FLAT"
    """Looks at the nearest clusters only."""
    HNSW = "HNSW"
    """Walks a graph of neighbours."""


class Modality(enum.StrEnum):
    """What kind of content a model reads."""

    UNSPECIFIED = "UNSPECIFIED"
    TEXT = "TEXT"
    IMAGE = "IMAGE"
    AUDIO = "AUDIO"
    VIDEO = "VIDEO"
    MOLECULE = "MOLECULE"
    SEQUENCE = "SEQUENCE"


class ModelState(enum.StrEnum):
    """Whether a model encodes."""

    UNSPECIFIED = "UNSPECIFIED"
    UNLOADED = "UNLOADED"
    LOADING = "LOADING"
    READY = "READY"
    FAILED = "FAILED"


class Role(enum.StrEnum):
    """Which side of the search a content is on."""

    UNSPECIFIED = "UNSPECIFIED"
    QUERY = "QUERY"
    DOCUMENT = "DOCUMENT"


class Lane(enum.StrEnum):
    """Whether a person waits for the answer."""

    UNSPECIFIED = "UNSPECIFIED"
    QUERY = "QUERY"
    BULK = "BULK"


class OnTooLong(enum.StrEnum):
    """What becomes of a content that is longer than the model's window."""

    UNSPECIFIED = "UNSPECIFIED"
    TRUNCATE = "TRUNCATE"
    """Its end is left out, and the embedding says so."""
    REJECT = "REJECT"
    """It is that content's error."""


class RecommendStrategy(enum.StrEnum):
    """How examples become a query."""

    UNSPECIFIED = "UNSPECIFIED"
    """AVERAGE."""
    AVERAGE = "AVERAGE"
    """The mean of the liked, moved away from the mean of the disliked."""
    SUM = "SUM"
    """The sum of the scores to the liked, less those to the disliked."""
    BEST = "BEST"
    """The best score to any liked one, unless a disliked one is nearer."""


class Segmentation(enum.StrEnum):
    """Whether a content becomes one vector or one for each of its parts."""

    UNSPECIFIED = "UNSPECIFIED"
    WHOLE = "WHOLE"
    SEGMENTS = "SEGMENTS"
    """Passages of a text; each is within the model's window."""


class VectorFormat(enum.StrEnum):
    """The form in which vectors travel; they are float32 again when they are read."""

    UNSPECIFIED = "UNSPECIFIED"
    FLOAT32_LE = "FLOAT32_LE"
    FLOAT16_LE = "FLOAT16_LE"
    INT8_SCALED = "INT8_SCALED"
    """One byte a component and a scale: off by half of a 127th of the largest, at most."""
    PACKED_BITS = "PACKED_BITS"
    """Binary models only."""
    FLOATS = "FLOATS"
    """For tools; nothing to gain here."""


@dataclass(frozen=True, slots=True)
class VectorSpace:
    """The space that vectors live in."""

    dimension: int
    """Components of a vector, 1 to 32768; a multiple of 8 for BINARY."""
    metric: Metric = Metric.UNSPECIFIED
    kind: VectorKind = VectorKind.FLOAT


@dataclass(frozen=True, slots=True)
class Field:
    """An attribute that filters may use."""

    name: str
    type: FieldType


@dataclass(frozen=True, slots=True)
class Index:
    """How the engine finds neighbours; None is the server's default."""

    type: IndexType = IndexType.UNSPECIFIED
    nlist: int | None = None
    """IVF_FLAT: clusters."""
    nprobe: int | None = None
    """IVF_FLAT: clusters looked at for a query."""
    m: int | None = None
    """HNSW: links of a node."""
    ef_construction: int | None = None
    """HNSW: candidates while building."""
    ef: int | None = None
    """HNSW: candidates while searching."""


@dataclass(frozen=True, slots=True)
class Collection:
    """A named set of documents whose vectors live in one space."""

    name: str
    space: VectorSpace
    """Of the model, or as given."""
    model: str = ""
    """Encodes the contents; empty where every document and query brings its vector."""
    fingerprint: str = ""
    """Of the model, pinned when the collection was created."""
    fields: Sequence[Field] = ()
    segmentation: Segmentation = Segmentation.WHOLE
    """Whether a document is one vector or one for each of its passages."""
    index: Index = field(default_factory=Index)
    document_count: int = 0
    create_time: datetime | None = None
    update_time: datetime | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Document:
    """A document: what is found."""

    id: str
    """Unique in its collection. 1 to 256 bytes of UTF-8 without control characters."""
    content: Content | None = None
    """What is encoded: a str is a text. Required in a collection with a model, unless `vector`."""
    vector: np.ndarray | None = field(default=None, repr=False)
    """(dimension,) of floats, or (dimension / 8,) uint8 of packed bits for a binary space."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """JSON values, kept with the document. Whole numbers less than 2^53 in magnitude."""
    update_time: datetime | None = None
    """Output only. When it was last written."""
    segments: Sequence[EmbeddedSegment] = field(default=(), repr=False)
    """The vectors of the content's passages, in a collection of SEGMENTS: taken, and answered, in
    the place of `vector`. They carry no text: `content[start:end]` is the passage."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model of the encoder."""

    name: str
    description: str
    modality: Modality
    space: VectorSpace
    fingerprint: str
    """What its vectors depend on."""
    window: int
    """Most units of input that it encodes at once: tokens for text, special ones included."""
    precision: str
    """Numbers that it computes in: `fp32`, `int8`."""
    dimensions: Sequence[int]
    """What `dimensions` of an `encode` may ask for, besides all of them."""
    state: ModelState
    state_message: str
    """Why it does not encode; empty when READY."""
    is_default: bool
    license: str
