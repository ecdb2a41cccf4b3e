"""What every service of the contract speaks of: contents, vectors and their space."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from google.protobuf import struct_pb2

from searchmesh.type.v1 import content_pb2, vector_pb2
from searchmesh_common.errors import InvalidRequest
from searchmesh_search.collection_spec import VectorSpace
from searchmesh_search.content import Content, Modality
from searchmesh_search.engine import Metric, VectorKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from searchmesh_search.filters.filter import Value

CONTENT_FIELDS: Mapping[str, Modality] = {
    "text": Modality.TEXT,
    "image": Modality.IMAGE,
    "audio": Modality.AUDIO,
    "video": Modality.VIDEO,
    "smiles": Modality.MOLECULE,
    "sequence": Modality.SEQUENCE,
}
"""The fields of Content, which are also those of a search's query."""

MODALITY_FIELDS: Mapping[Modality, str] = {
    modality: name for name, modality in CONTENT_FIELDS.items()
}

MODALITIES: Mapping[content_pb2.Modality.ValueType, Modality] = {
    content_pb2.MODALITY_TEXT: Modality.TEXT,
    content_pb2.MODALITY_IMAGE: Modality.IMAGE,
    content_pb2.MODALITY_AUDIO: Modality.AUDIO,
    content_pb2.MODALITY_VIDEO: Modality.VIDEO,
    content_pb2.MODALITY_MOLECULE: Modality.MOLECULE,
    content_pb2.MODALITY_SEQUENCE: Modality.SEQUENCE,
}

METRICS: Mapping[vector_pb2.Metric.ValueType, Metric] = {
    vector_pb2.METRIC_COSINE: Metric.COSINE,
    vector_pb2.METRIC_INNER_PRODUCT: Metric.INNER_PRODUCT,
    vector_pb2.METRIC_EUCLIDEAN: Metric.EUCLIDEAN,
    vector_pb2.METRIC_JACCARD: Metric.JACCARD,
    vector_pb2.METRIC_HAMMING: Metric.HAMMING,
}

METRIC_VALUES: Mapping[Metric, vector_pb2.Metric.ValueType] = {
    metric: value for value, metric in METRICS.items()
}

_KIND_VALUES: Mapping[VectorKind, vector_pb2.VectorKind.ValueType] = {
    VectorKind.FLOAT: vector_pb2.VECTOR_KIND_FLOAT,
    VectorKind.BINARY: vector_pb2.VECTOR_KIND_BINARY,
}


def content(message: content_pb2.Content) -> Content | None:
    """The content, or None where the message has none."""
    name = message.WhichOneof("content")
    return None if name is None else Content(CONTENT_FIELDS[name], getattr(message, name))


def content_message(content: Content) -> content_pb2.Content:
    """The inverse of `content`."""
    message = content_pb2.Content()
    setattr(message, MODALITY_FIELDS[content.modality], content.data)
    return message


def space(message: vector_pb2.VectorSpace) -> VectorSpace:
    """The space, with the defaults that the contract names."""
    binary = message.kind == vector_pb2.VECTOR_KIND_BINARY
    default = Metric.JACCARD if binary else Metric.COSINE
    return VectorSpace(
        dimension=message.dimension,
        metric=METRICS.get(message.metric, default),
        kind=VectorKind.BINARY if binary else VectorKind.FLOAT,
    )


def space_message(space: VectorSpace) -> vector_pb2.VectorSpace:
    """The inverse of `space`."""
    return vector_pb2.VectorSpace(
        dimension=space.dimension,
        metric=METRIC_VALUES[space.metric],
        kind=_KIND_VALUES[space.kind],
    )


def vector(message: vector_pb2.Vector, path: str) -> np.ndarray:
    """(dimension,) float32, or (dimension / 8,) uint8 for packed bits.

    path: of the message in its request. Raises InvalidRequest for a vector without a form, or
    whose bytes are no whole number of components. Whether it fits a space is checked elsewhere.
    """
    match message.WhichOneof("data"):
        case "float32_le":
            return _components(message.float32_le, "<f4", f"{path}.float32_le")
        case "float16_le":
            return _components(message.float16_le, "<f2", f"{path}.float16_le")
        case "floats":
            return np.asarray(message.floats.values, dtype=np.float32)
        case "packed_bits":
            return np.frombuffer(message.packed_bits, np.uint8)
        case "int8_scaled":
            return _scaled(message.int8_scaled, f"{path}.int8_scaled")
        case _:
            raise InvalidRequest.of(path, "required: give the vector in one of its forms")


def vector_message(vector: np.ndarray) -> vector_pb2.Vector:
    """A vector in its default form: packed_bits for uint8, float32_le otherwise."""
    if vector.dtype == np.uint8:
        return vector_pb2.Vector(packed_bits=vector.tobytes())
    return vector_pb2.Vector(float32_le=vector.astype("<f4", copy=False).tobytes())


def attribute_message(value: Value) -> struct_pb2.Value:
    """A declared attribute's value."""
    match value:
        case bool():
            return struct_pb2.Value(bool_value=value)
        case str():
            return struct_pb2.Value(string_value=value)
        case _:
            return struct_pb2.Value(number_value=value + 0.0)  # no -0


def _components(data: bytes, form: str, path: str) -> np.ndarray:
    kind = np.dtype(form)
    if len(data) % kind.itemsize:
        raise InvalidRequest.of(
            path, f"{len(data)} bytes given, not a multiple of {kind.itemsize} bytes a component"
        )
    return np.frombuffer(data, kind).astype(np.float32, copy=False)


def _scaled(message: vector_pb2.Int8Scaled, path: str) -> np.ndarray:
    if not (np.isfinite(message.scale) and message.scale > 0):
        raise InvalidRequest.of(
            f"{path}.scale", f"{message.scale} given, must be finite and greater than 0"
        )
    return np.frombuffer(message.values, np.int8) * np.float32(message.scale)
