"""Requests and responses of CollectionService."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from searchmesh.search.v1 import collection_service_pb2 as pb
from searchmesh.type.v1 import segment_pb2
from searchmesh_search.collection_spec import CollectionSpec, Segmentation
from searchmesh_search.convert import values
from searchmesh_search.convert.times import timestamp
from searchmesh_search.engine import DeclaredField, FieldType, Index, Lexical
from searchmesh_search.indexes import with_defaults

if TYPE_CHECKING:
    from collections.abc import Mapping

    from searchmesh_search.collection_spec import Collection
    from searchmesh_search.collections import CollectionPage

_FIELD_TYPES: Mapping[pb.FieldType.ValueType, FieldType] = {
    pb.FIELD_TYPE_STRING: FieldType.STRING,
    pb.FIELD_TYPE_INT64: FieldType.INT64,
    pb.FIELD_TYPE_DOUBLE: FieldType.DOUBLE,
    pb.FIELD_TYPE_BOOL: FieldType.BOOL,
}
_FIELD_TYPE_VALUES = {kind: value for value, kind in _FIELD_TYPES.items()}

_INDEX_TYPES: Mapping[pb.IndexType.ValueType, str] = {
    pb.INDEX_TYPE_UNSPECIFIED: "FLAT",
    pb.INDEX_TYPE_FLAT: "FLAT",
    pb.INDEX_TYPE_IVF_FLAT: "IVF_FLAT",
    pb.INDEX_TYPE_HNSW: "HNSW",
}
_INDEX_TYPE_VALUES: Mapping[str, pb.IndexType.ValueType] = {
    "FLAT": pb.INDEX_TYPE_FLAT,
    "IVF_FLAT": pb.INDEX_TYPE_IVF_FLAT,
    "HNSW": pb.INDEX_TYPE_HNSW,
}
_SEGMENTATION_VALUES: Mapping[Segmentation, segment_pb2.Segmentation.ValueType] = {
    Segmentation.WHOLE: segment_pb2.SEGMENTATION_WHOLE,
    Segmentation.SEGMENTS: segment_pb2.SEGMENTATION_SEGMENTS,
}


def spec(message: pb.Collection) -> CollectionSpec:
    """Fields that are output only are not looked at: what was answered can be sent again."""
    has_space = message.HasField("vector_space")
    return CollectionSpec(
        name=message.name,
        model=message.model if message.HasField("model") else None,
        vector_space=values.space(message.vector_space) if has_space else None,
        fields=tuple(DeclaredField(one.name, _FIELD_TYPES[one.type]) for one in message.fields),
        index=_index(message.index),
        segmentation=Segmentation.SEGMENTS
        if message.segmentation == segment_pb2.SEGMENTATION_SEGMENTS
        else Segmentation.WHOLE,
        lexical=_lexical(message.lexical) if message.HasField("lexical") else None,
    )


def message(collection: Collection) -> pb.Collection:
    """The collection as it is answered."""
    spec = collection.spec
    message = pb.Collection(
        name=spec.name,
        fingerprint=collection.fingerprint,
        fields=[pb.Field(name=one.name, type=_FIELD_TYPE_VALUES[one.type]) for one in spec.fields],
        segmentation=_SEGMENTATION_VALUES[spec.segmentation],
        index=pb.Index(type=_INDEX_TYPE_VALUES[spec.index.type], **spec.index.parameters),
        document_count=collection.document_count,
        resolved_space=values.space_message(collection.space),
        create_time=timestamp(collection.create_time),
        update_time=timestamp(collection.update_time),
    )
    if spec.lexical is not None:
        message.lexical.CopyFrom(pb.Lexical(**asdict(spec.lexical)))
    if spec.model is not None:
        message.model = spec.model
    else:
        message.vector_space.CopyFrom(message.resolved_space)
    return message


def page(page: CollectionPage) -> pb.ListCollectionsResponse:
    return pb.ListCollectionsResponse(
        collections=[message(one) for one in page.collections],
        next_page_token=page.next_page_token,
    )


def _lexical(message: pb.Lexical) -> Lexical:
    """With its defaults where nothing was given."""
    return Lexical(**{field.name: value for field, value in message.ListFields()})


def _index(message: pb.Index) -> Index:
    """The index with all its parameters, and those it does not have where they were given."""
    given = {field.name: value for field, value in message.ListFields() if field.name != "type"}
    return with_defaults(Index(_INDEX_TYPES[message.type], given))
