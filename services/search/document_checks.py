"""New documents, and what makes one of them fail alone."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from searchmesh_common.errors import FieldViolation, InvalidRequest, ServiceError
from searchmesh_search.engine import MAX_STRING_BYTES, DeclaredField, FieldType, Metric, VectorKind
from searchmesh_search.segment_checks import check_spans

if TYPE_CHECKING:
    from collections.abc import Sequence

    from searchmesh_search.collection_spec import Collection, VectorSpace
    from searchmesh_search.content import Content
    from searchmesh_search.segment_checks import GivenSegment

MAX_ID_BYTES = 256
MAX_COMPONENT = 1e15
MIN_COSINE_LENGTH = 1e-15
MAX_INTEGER = 2**53
"""From here on a double no longer tells an integer from the next."""


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document as a caller gave it."""

    id: str
    stored: bytes
    """What is kept and given back: opaque here."""
    content: Content | None
    vector: np.ndarray | None
    attributes: Mapping[str, Any]
    """As a JSON object: numbers are floats."""
    segments: Sequence[GivenSegment] = ()
    """The vectors of the content's segments, where the caller gave them."""


@dataclass(frozen=True, slots=True)
class PreparedDocument:
    """A document that passed its checks."""

    place: int
    document: NewDocument
    fields: Mapping[str, str | int | float | bool | None]


def prepare(
    collection: Collection,
    documents: Sequence[NewDocument | ServiceError],
    errors: list[ServiceError | None],
) -> list[PreparedDocument]:
    """The documents that pass their checks; the others get their error, by their place. Of equal
    ids only the first may pass.
    """
    first_places: dict[str, int] = {}
    for place, document in enumerate(documents):
        if isinstance(document, ServiceError):
            continue
        first = first_places.setdefault(document.id, place)
        if first != place:
            errors[place] = InvalidRequest.of(
                f"documents[{place}].id",
                f"the same as of documents[{first}]; give each id once a call",
            )
    return prepare_each(collection, documents, errors)


def prepare_each(
    collection: Collection,
    documents: Sequence[NewDocument | ServiceError],
    errors: list[ServiceError | None],
) -> list[PreparedDocument]:
    """The same for documents that have no error yet, whether their ids are equal or not."""
    prepared = []
    for place, document in enumerate(documents):
        if isinstance(document, ServiceError) or errors[place] is not None:
            continue
        try:
            fields = _check(collection, document, f"documents[{place}]")
        except InvalidRequest as error:
            errors[place] = error
        else:
            prepared.append(PreparedDocument(place, document, fields))
    return prepared


def _check(
    collection: Collection, document: NewDocument, path: str
) -> dict[str, str | int | float | bool | None]:
    check_id(document.id, f"{path}.id")
    _check_vectors(collection, document, path)
    check_attributes(document.attributes, f"{path}.attributes")
    return declared_fields(document.attributes, collection, f"{path}.attributes")


def _check_vectors(collection: Collection, document: NewDocument, path: str) -> None:
    """Whether there is, or can be, a vector for the document, or those of its segments."""
    if document.vector is not None and document.segments:
        raise InvalidRequest.of(f"{path}.segment_vectors", "give these or `vector`, not both")
    if document.vector is not None:
        check_vector(document.vector, collection.space, f"{path}.vector")
    elif document.segments:
        _check_segments(collection, document, f"{path}.segment_vectors")
    elif collection.model is None:
        raise InvalidRequest.of(f"{path}.vector", "required: the collection has no model")
    elif document.content is None:
        raise InvalidRequest.of(f"{path}.content", "required where no vector is given")
    elif document.content.modality is not collection.modality:
        assert collection.modality is not None
        raise InvalidRequest.of(
            f"{path}.content",
            f"is {document.content.modality.value}, the collection's model {collection.model} "
            f"reads {collection.modality.value}",
        )


def _check_segments(collection: Collection, document: NewDocument, path: str) -> None:
    check_spans(collection, document.content, document.segments, path)
    for place, one in enumerate(document.segments):
        check_vector(one.vector, collection.space, f"{path}[{place}].vector")


def check_id(document_id: str, path: str) -> None:
    """Raises InvalidRequest for an id that is not 1 to 256 bytes of UTF-8 without control
    characters.
    """
    length = len(document_id.encode())
    if not 1 <= length <= MAX_ID_BYTES:
        raise InvalidRequest.of(path, f"{length} bytes of UTF-8 given, 1 to {MAX_ID_BYTES} allowed")
    if any(unicodedata.category(one) == "Cc" for one in document_id):
        raise InvalidRequest.of(path, "holds a control character; leave it out")


def kind_of(vector: np.ndarray) -> VectorKind:
    """By its type: packed bits are uint8."""
    return VectorKind.BINARY if vector.dtype == np.uint8 else VectorKind.FLOAT


def check_vector(vector: np.ndarray, space: VectorSpace, path: str) -> None:
    """Raises InvalidRequest for a vector that is not of the space.

    vector: (dimension,) float32, or (dimension / 8,) uint8 of packed bits.
    """
    kind = kind_of(vector)
    if kind is not space.kind:
        raise InvalidRequest.of(
            path, f"is a {kind.value} vector, the collection holds {space.kind.value} ones"
        )
    binary = kind is VectorKind.BINARY
    length = vector.size * 8 if binary else vector.size
    if length != space.dimension:
        raise InvalidRequest.of(
            path, f"has {length} components, the collection's vectors have {space.dimension}"
        )
    if not binary:
        _check_components(vector, space.metric, path)


def _check_components(vector: np.ndarray, metric: Metric, path: str) -> None:
    """Engines compute in float32, where squares of more or less than this are lost."""
    faulty = np.flatnonzero(~(np.abs(vector) <= MAX_COMPONENT))
    if faulty.size:
        place = int(faulty[0])
        raise InvalidRequest.of(
            path,
            f"component {place} is {vector[place]}; give finite numbers up to {MAX_COMPONENT:g}",
        )
    if metric is Metric.COSINE and np.linalg.norm(vector.astype(np.float64)) < MIN_COSINE_LENGTH:
        raise InvalidRequest.of(
            path,
            f"is shorter than {MIN_COSINE_LENGTH:g}: no direction to compare by cosine",
        )


def check_attributes(attributes: Mapping[str, Any], path: str) -> None:
    """Raises InvalidRequest for a number that a Struct, whose numbers are doubles, cannot carry
    faithfully.
    """
    faults = list(_number_faults(attributes, path))
    if faults:
        raise InvalidRequest(*faults)


def _number_faults(value: Any, path: str) -> list[FieldViolation]:
    match value:
        case Mapping():
            return [
                fault
                for name, inner in value.items()
                for fault in _number_faults(inner, f"{path}.{name}")
            ]
        case list():
            return [
                fault
                for place, inner in enumerate(value)
                for fault in _number_faults(inner, f"{path}[{place}]")
            ]
        case float() if not math.isfinite(value):
            return [FieldViolation(path, f"is {value}; give a finite number")]
        case float() if abs(value) >= MAX_INTEGER:
            return [
                FieldViolation(
                    path,
                    "is 2^53 or more in magnitude, where a Struct's numbers lose digits; "
                    "send it as a string",
                )
            ]
    return []


def declared_fields(
    attributes: Mapping[str, Any], collection: Collection, path: str
) -> dict[str, str | int | float | bool | None]:
    """The attributes that the engine keeps as columns, null where a document has none.

    Raises InvalidRequest for one whose type is not as declared.
    """
    return {
        one.name: _declared(attributes.get(one.name), one, f"{path}.{one.name}")
        for one in collection.spec.fields
    }


def _declared(value: Any, declared: DeclaredField, path: str) -> str | int | float | bool | None:
    if value is None:
        return None
    match declared.type, value:
        case FieldType.STRING, str():
            length = len(value.encode())
            if length > MAX_STRING_BYTES:
                raise InvalidRequest.of(
                    path, f"{length} bytes given, a declared string has at most {MAX_STRING_BYTES}"
                )
            return value
        case FieldType.BOOL, bool():
            return value
        case FieldType.DOUBLE, float():
            return value
        case FieldType.INT64, float():
            if not value.is_integer():
                raise InvalidRequest.of(path, f"{value} has a fraction; int64 is declared")
            return int(value)
    raise InvalidRequest.of(path, f"is not of type {declared.type.value}, as declared")
