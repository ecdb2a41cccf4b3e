"""What a collection is: as a caller defines it, and as it is once its vector space is known."""

from __future__ import annotations

import enum
import hashlib
import json
import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from searchmesh_common.errors import FailedPrecondition, FieldViolation, InvalidRequest
from searchmesh_search.content import Modality
from searchmesh_search.engine import (
    BINARY_METRICS,
    CollectionSchema,
    DeclaredField,
    FieldType,
    Index,
    Lexical,
    Metric,
    VectorKind,
)
from searchmesh_search.indexes import index_faults
from searchmesh_search.journal.collection_rows import CollectionRow, NewCollection
from searchmesh_search.lexical import lexical_faults

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

SEGMENTED_MODALITIES = frozenset({Modality.TEXT})
"""Those of which the encoder makes segments."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


class Segmentation(enum.Enum):
    """What a document is in the engine."""

    WHOLE = "whole"
    """One vector."""
    SEGMENTS = "segments"
    """A vector for each part that the encoder makes of its content."""


@dataclass(frozen=True, slots=True)
class VectorSpace:
    """The space that vectors live in."""

    dimension: int
    """Components of a vector; for BINARY, bits, a multiple of 8."""
    metric: Metric
    kind: VectorKind = VectorKind.FLOAT


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model as the encoder describes it."""

    name: str
    fingerprint: str
    modality: Modality
    space: VectorSpace


@dataclass(frozen=True, slots=True)
class CollectionSpec:
    """A collection as a caller defines it: with a model, or with a space of the caller's own."""

    name: str
    model: str | None = None
    vector_space: VectorSpace | None = None
    fields: Sequence[DeclaredField] = ()
    index: Index = field(default_factory=Index)
    segmentation: Segmentation = Segmentation.WHOLE
    lexical: Lexical | None = None
    """None where it is not searched by words."""

    def validate(self) -> None:
        """Raises InvalidRequest that names every fault."""
        faults = [
            *self._name_faults(),
            *self._space_faults(),
            *self._field_faults(),
            *self._segmentation_faults(),
            *index_faults(self.index),
            *lexical_faults(self.lexical),
        ]
        if faults:
            raise InvalidRequest(*faults)

    def require_words_of(self, model: ModelInfo) -> None:
        """Raises FailedPrecondition, reason NO_TEXT, for a model of contents that have no words
        where the collection is to be searched by words."""
        if self.lexical is None or model.modality is Modality.TEXT:
            return
        raise FailedPrecondition(
            "NO_TEXT",
            f"collection.lexical: model {model.name} reads {model.modality.value}, which has no "
            "words to search by; leave it out",
            {"model": model.name, "modality": model.modality.value},
        )

    def require_segments_of(self, model: ModelInfo) -> None:
        """Raises FailedPrecondition, reason NO_SEGMENTS, for a model whose contents are not cut
        where the collection wants them cut."""
        if self.segmentation is Segmentation.WHOLE or model.modality in SEGMENTED_MODALITIES:
            return
        raise FailedPrecondition(
            "NO_SEGMENTS",
            f"collection.segmentation: model {model.name} reads {model.modality.value}, of which "
            "the encoder makes no segments",
            {"model": model.name, "modality": model.modality.value},
        )

    def digest(self) -> bytes:
        """SHA-256 of everything in it, to tell a repeated request from another."""
        space = self.vector_space
        described = [self.name, self.model, space and _space_json(space), _extras_json(self, None)]
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).digest()

    def schema(self, space: VectorSpace) -> CollectionSchema:
        """What the engine is told."""
        return CollectionSchema(
            dimension=space.dimension,
            metric=space.metric,
            kind=space.kind,
            fields=tuple(self.fields),
            index=self.index,
            lexical=self.lexical,
        )

    def row(self, physical: str, model: ModelInfo | None, space: VectorSpace) -> NewCollection:
        """What the journal is told."""
        return NewCollection(
            name=self.name,
            physical=physical,
            model=None if model is None else model.name,
            fingerprint="" if model is None else model.fingerprint,
            dimension=space.dimension,
            metric=space.metric.value,
            kind=space.kind.value,
            spec=json.dumps(_extras_json(self, model)),
        )

    def _name_faults(self) -> list[FieldViolation]:
        if _NAME.fullmatch(self.name):
            return []
        return [
            FieldViolation(
                "collection.name",
                "a lower-case letter, then at most 62 lower-case letters, digits and underscores",
            )
        ]

    def _space_faults(self) -> list[FieldViolation]:
        if (self.model is None) == (self.vector_space is None):
            return [FieldViolation("collection", "give exactly one of model and vector_space")]
        space = self.vector_space
        if space is None:
            return []
        faults = []
        if space.dimension < 1 or (space.kind is VectorKind.BINARY and space.dimension % 8):
            faults.append(
                FieldViolation(
                    "collection.vector_space.dimension",
                    f"{space.dimension} given; at least 1, and a multiple of 8 for a binary space",
                )
            )
        if (space.metric in BINARY_METRICS) != (space.kind is VectorKind.BINARY):
            faults.append(
                FieldViolation(
                    "collection.vector_space.metric",
                    f"{space.metric.value} does not measure {space.kind.value} vectors; "
                    "float: cosine, inner product or euclidean, binary: jaccard or hamming",
                )
            )
        return faults

    def _field_faults(self) -> list[FieldViolation]:
        names = [one.name for one in self.fields]
        return [
            FieldViolation(f"collection.fields[{place}].name", f"{name!r} is declared twice")
            for place, name in enumerate(names)
            if name in names[:place]
        ]

    def _segmentation_faults(self) -> list[FieldViolation]:
        if self.segmentation is Segmentation.WHOLE or self.vector_space is None:
            return []
        return [
            FieldViolation(
                "collection.segmentation",
                "the encoder makes the segments, so they need a model, not a vector_space",
            )
        ]


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection that is ready."""

    id: int
    physical: str
    """Its name in the engine."""
    spec: CollectionSpec
    space: VectorSpace
    fingerprint: str
    """Pinned when it was created; empty without a model."""
    modality: Modality | None
    """What its model reads; None without a model."""
    document_count: int
    create_time: datetime
    update_time: datetime

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def model(self) -> str | None:
        return self.spec.model

    @classmethod
    def from_row(cls, row: CollectionRow) -> Collection:
        extras = json.loads(row.spec)
        space = VectorSpace(row.dimension, Metric(row.metric), VectorKind(row.kind))
        return cls(
            id=row.id,
            physical=row.physical,
            spec=CollectionSpec(
                name=row.name,
                model=row.model,
                vector_space=space if row.model is None else None,
                fields=tuple(
                    DeclaredField(one["name"], FieldType(one["type"])) for one in extras["fields"]
                ),
                index=Index(extras["index"]["type"], extras["index"]["parameters"]),
                # collections from before there were segments do not say
                segmentation=Segmentation(extras.get("segmentation", "whole")),
                lexical=Lexical(**extras["lexical"]) if "lexical" in extras else None,
            ),
            space=space,
            fingerprint=row.fingerprint,
            modality=Modality(extras["modality"]) if extras["modality"] else None,
            document_count=row.document_count,
            create_time=row.create_time,
            update_time=row.update_time,
        )


def _space_json(space: VectorSpace) -> dict[str, Any]:
    return {
        "dimension": space.dimension,
        "metric": space.metric.value,
        "kind": space.kind.value,
    }


def _extras_json(spec: CollectionSpec, model: ModelInfo | None) -> dict[str, Any]:
    """What the journal keeps of a definition beside its own columns."""
    extras = {
        "fields": [{"name": one.name, "type": one.type.value} for one in spec.fields],
        "index": {"type": spec.index.type, "parameters": dict(spec.index.parameters)},
        "modality": None if model is None else model.modality.value,
    }
    if spec.segmentation is not Segmentation.WHOLE:
        # left out by default, so that requests from before there were segments keep their digest
        extras["segmentation"] = spec.segmentation.value
    if spec.lexical is not None:
        extras["lexical"] = asdict(spec.lexical)
    return extras
