"""Messages of the contract <-> our own values."""

from __future__ import annotations

import enum
import unicodedata
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from searchmesh import resources, results
from searchmesh.attributes import attributes_from, attributes_to, value_from
from searchmesh.contents import Audio, Content, Image, NucleotideSequence, Smiles, Video
from searchmesh.encoder.v1 import encoder_service_pb2
from searchmesh.errors import InvalidRequest, ServiceError
from searchmesh.queries import Diversity, DocumentId, Query
from searchmesh.search.v1 import (
    collection_service_pb2,
    document_pb2,
    document_service_pb2,
    search_service_pb2,
)
from searchmesh.type.v1 import content_pb2, segment_pb2, vector_pb2
from searchmesh.vectors import vector_from, vector_to
from searchmesh_common import status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.longrunning.operations_pb2 import Operation as OperationMessage
    from google.protobuf.internal.enum_type_wrapper import _EnumTypeWrapper
    from google.protobuf.timestamp_pb2 import Timestamp
    from google.rpc.status_pb2 import Status

_MOST_ID_BYTES = 256


_Member = TypeVar("_Member", bound=enum.StrEnum)


def enum_to(wrapper: _EnumTypeWrapper[Any], prefix: str, member: enum.StrEnum) -> Any:
    return wrapper.Value(f"{prefix}_{member.value}")


def enum_from(
    cls: type[_Member], wrapper: _EnumTypeWrapper[Any], prefix: str, number: int
) -> _Member:
    """A number that this version does not know, of a newer server, reads as UNSPECIFIED."""
    try:
        return cls(wrapper.Name(number).removeprefix(f"{prefix}_"))
    except ValueError:
        return cls("UNSPECIFIED")


def content_to(content: Content, path: str) -> content_pb2.Content:
    """path: where the content is in the request, for the error."""
    match content:
        case str():
            return content_pb2.Content(text=text_to(content, path))
        case Image():
            return content_pb2.Content(image=content.data)
        case Audio():
            return content_pb2.Content(audio=content.data)
        case Video():
            return content_pb2.Content(video=content.data)
        case Smiles():
            return content_pb2.Content(smiles=text_to(content.text, path))
        case NucleotideSequence():
            return content_pb2.Content(sequence=text_to(content.text, path))
    raise InvalidRequest.of(path, f"a {type(content).__name__} is no content: give a str or Image")


def content_from(message: content_pb2.Content) -> Content | None:
    match message.WhichOneof("content"):
        case "text":
            return message.text
        case "image":
            return Image(message.image)
        case "audio":
            return Audio(message.audio)
        case "video":
            return Video(message.video)
        case "smiles":
            return Smiles(message.smiles)
        case "sequence":
            return NucleotideSequence(message.sequence)
        case _:
            return None


def query_to(query: Query, path: str) -> search_service_pb2.Query:
    """path: where the query is in the request, for the error."""
    match query:
        case DocumentId():
            return search_service_pb2.Query(document_id=_checked_id(query.id, path))
        case str() | Image() | Audio() | Video() | Smiles() | NucleotideSequence():
            return search_service_pb2.Query(content=content_to(query, path))
        case _:
            return search_service_pb2.Query(vector=vector_to(query, path))


def diversity_to(diversity: Diversity) -> search_service_pb2.Diversity:
    message = search_service_pb2.Diversity(candidates=diversity.candidates)
    # the field's name is a keyword of Python's
    setattr(message, "lambda", diversity.weight)
    return message


def text_to(text: str, path: str) -> str:
    """The text, where it can travel as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest.of(path, "holds half a character (a lone surrogate)") from error
    return text


def document_to(document: resources.Document, path: str = "document") -> document_pb2.Document:
    """Raises InvalidRequest for what would fail every other document of the same call too."""
    return document_pb2.Document(
        id=_checked_id(document.id, f"{path}.id"),
        content=None
        if document.content is None
        else content_to(document.content, f"{path}.content"),
        vector=None if document.vector is None else vector_to(document.vector, f"{path}.vector"),
        attributes=attributes_to(document.attributes, f"{path}.attributes")
        if document.attributes
        else None,
        segment_vectors=[
            _segment_vector_to(one, f"{path}.segments[{index}]")
            for index, one in enumerate(document.segments)
        ],
    )


def _segment_vector_to(given: results.EmbeddedSegment, path: str) -> document_pb2.SegmentVector:
    message = document_pb2.SegmentVector(vector=vector_to(given.vector, f"{path}.vector"))
    if given.segment is not None:
        message.segment.text.start = given.segment.start
        message.segment.text.end = given.segment.end
    return message


def _checked_id(document_id: str, path: str) -> str:
    if not isinstance(document_id, str):
        raise InvalidRequest.of(path, f"must be a string, not {document_id!r}")
    length = len(text_to(document_id, path).encode())
    if not 1 <= length <= _MOST_ID_BYTES:
        raise InvalidRequest.of(path, f"has {length} bytes, must have 1 to {_MOST_ID_BYTES}")
    if any(unicodedata.category(character) == "Cc" for character in document_id):
        raise InvalidRequest.of(path, "holds a control character")
    return document_id


def document_from(message: document_pb2.Document) -> resources.Document:
    return resources.Document(
        id=message.id,
        content=content_from(message.content),
        vector=vector_from(message.vector) if message.HasField("vector") else None,
        attributes=attributes_from(message.attributes),
        update_time=_time_from(message, "update_time"),
        segments=tuple(_segment_from(one) for one in message.segment_vectors),
    )


def space_to(space: resources.VectorSpace) -> vector_pb2.VectorSpace:
    return vector_pb2.VectorSpace(
        dimension=space.dimension,
        metric=enum_to(vector_pb2.Metric, "METRIC", space.metric),
        kind=enum_to(vector_pb2.VectorKind, "VECTOR_KIND", space.kind),
    )


def space_from(message: vector_pb2.VectorSpace) -> resources.VectorSpace:
    return resources.VectorSpace(
        dimension=message.dimension,
        metric=enum_from(resources.Metric, vector_pb2.Metric, "METRIC", message.metric),
        kind=enum_from(resources.VectorKind, vector_pb2.VectorKind, "VECTOR_KIND", message.kind),
    )


def field_to(field: resources.Field) -> collection_service_pb2.Field:
    return collection_service_pb2.Field(
        name=field.name,
        type=enum_to(collection_service_pb2.FieldType, "FIELD_TYPE", field.type),
    )


def index_to(index: resources.Index) -> collection_service_pb2.Index:
    return collection_service_pb2.Index(
        type=enum_to(collection_service_pb2.IndexType, "INDEX_TYPE", index.type),
        nlist=index.nlist,
        nprobe=index.nprobe,
        m=index.m,
        ef_construction=index.ef_construction,
        ef=index.ef,
    )


def _index_from(message: collection_service_pb2.Index) -> resources.Index:
    def given(name: str) -> int | None:
        return getattr(message, name) if message.HasField(name) else None  # type: ignore[arg-type]

    wrapper = collection_service_pb2.IndexType
    return resources.Index(
        type=enum_from(resources.IndexType, wrapper, "INDEX_TYPE", message.type),
        nlist=given("nlist"),
        nprobe=given("nprobe"),
        m=given("m"),
        ef_construction=given("ef_construction"),
        ef=given("ef"),
    )


def collection_from(message: collection_service_pb2.Collection) -> resources.Collection:
    wrapper = collection_service_pb2.FieldType
    return resources.Collection(
        name=message.name,
        space=space_from(message.resolved_space),
        model=message.model,
        fingerprint=message.fingerprint,
        fields=tuple(
            resources.Field(
                field.name, enum_from(resources.FieldType, wrapper, "FIELD_TYPE", field.type)
            )
            for field in message.fields
        ),
        segmentation=enum_from(
            resources.Segmentation, segment_pb2.Segmentation, "SEGMENTATION", message.segmentation
        ),
        index=_index_from(message.index),
        document_count=message.document_count,
        create_time=_time_from(message, "create_time"),
        update_time=_time_from(message, "update_time"),
    )


def model_from(message: encoder_service_pb2.Model) -> resources.Model:
    wrapper = encoder_service_pb2.ModelState
    return resources.Model(
        name=message.name,
        description=message.description,
        modality=enum_from(resources.Modality, content_pb2.Modality, "MODALITY", message.modality),
        space=space_from(message.vector_space),
        fingerprint=message.fingerprint,
        window=message.window,
        precision=message.precision,
        dimensions=tuple(message.dimensions),
        state=enum_from(resources.ModelState, wrapper, "MODEL_STATE", message.state),
        state_message=message.state_message,
        is_default=message.default_model,
        license=message.license,
    )


def encode_result_from(message: encoder_service_pb2.EncodeResponse) -> results.EncodeResult:
    timing = message.timing
    return results.EncodeResult(
        model=message.model,
        fingerprint=message.fingerprint,
        dimension=message.dimension,
        embeddings=tuple(_embedding_from(embedding) for embedding in message.embeddings),
        timing=results.Timing(
            timing.preprocess_ms, timing.queue_ms, timing.compute_ms, timing.total_ms
        ),
    )


def _embedding_from(message: encoder_service_pb2.Embedding) -> results.Embedding:
    outcome = message.WhichOneof("outcome")
    return results.Embedding(
        vector=vector_from(message.vector) if outcome == "vector" else None,
        segments=tuple(_segment_from(one) for one in message.segments.segments),
        error=status.from_proto(message.error) if outcome == "error" else None,
        tokens=message.tokens,
        original_tokens=message.original_tokens,
        truncated=message.truncated,
    )


def _segment_from(
    message: encoder_service_pb2.EmbeddedSegment | document_pb2.SegmentVector,
) -> results.EmbeddedSegment:
    return results.EmbeddedSegment(
        segment=_span_from(message.segment), vector=vector_from(message.vector)
    )


def _span_from(message: segment_pb2.Segment) -> results.TextSpan | None:
    """None where there is none, or one of a kind that this version does not know."""
    if not message.HasField("text"):
        return None
    span = message.text
    return results.TextSpan(span.start, span.end, span.text)


def streamed_from(
    index: int, message: encoder_service_pb2.EncodeStreamResponse
) -> results.StreamedResult:
    if message.HasField("error"):
        return results.StreamedResult(index, None, status.from_proto(message.error))
    return results.StreamedResult(index, encode_result_from(message.response), None)


def search_result_from(message: search_service_pb2.SearchResponse) -> results.SearchResult:
    explain = message.explain if message.HasField("explain") else None
    return results.SearchResult(
        hits=tuple(_hit_from(hit) for hit in message.hits),
        metric=enum_from(resources.Metric, vector_pb2.Metric, "METRIC", message.metric),
        partial=message.partial,
        explain=_explain_from(explain) if explain else None,
    )


def batch_results_from(
    message: search_service_pb2.BatchSearchResponse,
) -> tuple[results.BatchSearchResult, ...]:
    return tuple(_batch_result_from(one) for one in message.results)


def _batch_result_from(
    message: search_service_pb2.BatchSearchResult,
) -> results.BatchSearchResult:
    if message.HasField("error"):
        return results.BatchSearchResult(None, status.from_proto(message.error))
    return results.BatchSearchResult(search_result_from(message.response), None)


def recommend_result_from(
    message: search_service_pb2.RecommendResponse,
) -> results.RecommendResult:
    return results.RecommendResult(
        hits=tuple(_hit_from(hit) for hit in message.hits),
        metric=enum_from(resources.Metric, vector_pb2.Metric, "METRIC", message.metric),
    )


def classify_result_from(
    message: search_service_pb2.ClassifyResponse,
) -> results.ClassifyResult:
    return results.ClassifyResult(
        votes=tuple(
            results.Vote(value_from(one.value), one.share, one.count) for one in message.votes
        ),
        neighbours=tuple(_hit_from(hit) for hit in message.neighbours),
        metric=enum_from(resources.Metric, vector_pb2.Metric, "METRIC", message.metric),
    )


def answer_result_from(message: search_service_pb2.AnswerResponse) -> results.AnswerResult:
    return results.AnswerResult(
        answer=_stored_answer_from(message.answer) if message.HasField("answer") else None,
        alternatives=tuple(_stored_answer_from(one) for one in message.alternatives),
        metric=enum_from(resources.Metric, vector_pb2.Metric, "METRIC", message.metric),
    )


def _stored_answer_from(message: search_service_pb2.StoredAnswer) -> results.StoredAnswer:
    return results.StoredAnswer(message.id, message.answer, message.question, message.score)


def _hit_from(message: search_service_pb2.Hit) -> results.Hit:
    return results.Hit(
        id=message.id,
        score=message.score,
        attributes=attributes_from(message.attributes),
        content=content_from(message.content),
        segment=_span_from(message.segment),
    )


def _explain_from(message: search_service_pb2.Explain) -> results.Explain:
    return results.Explain(
        encode_ms=message.encode_ms,
        queue_ms=message.queue_ms,
        search_ms=message.search_ms,
        fuse_ms=message.fuse_ms,
        total_ms=message.total_ms,
        engine=message.engine,
        index=message.index,
        model=message.model,
        fingerprint=message.fingerprint,
        cache=message.cache,
    )


def facet_result_from(message: search_service_pb2.FacetsResponse) -> results.FacetResult:
    return results.FacetResult(
        facets=tuple(results.Facet(value_from(one.value), one.count) for one in message.facets),
        other_count=message.other_count,
    )


def upsert_batch_from(
    message: document_service_pb2.UpsertDocumentsResponse,
) -> results.UpsertBatch:
    return results.UpsertBatch(
        results=tuple(
            results.UpsertResult(result.id, _error_from(result.status))
            for result in message.results
        ),
        write_token=message.write_token,
    )


def operation_from(message: OperationMessage) -> results.Operation:
    metadata = document_service_pb2.ImportMetadata()
    known = message.metadata.Unpack(metadata)
    return results.Operation(
        name=message.name,
        done=message.done,
        progress=import_progress_from(metadata) if known else None,
        error=status.from_proto(message.error) if message.HasField("error") else None,
    )


def import_progress_from(message: document_service_pb2.ImportMetadata) -> results.ImportProgress:
    wrapper = document_service_pb2.ImportState
    return results.ImportProgress(
        collection=message.collection,
        request_id=message.request_id,
        state=enum_from(results.ImportState, wrapper, "IMPORT_STATE", message.state),
        received_count=message.received_count,
        encoded_count=message.encoded_count,
        stored_count=message.stored_count,
        searchable_count=message.searchable_count,
        failed_count=message.failed_count,
        failures=tuple(import_failure_from(failure) for failure in message.failures),
        documents_per_second=message.documents_per_second,
        time_left=message.time_left.ToTimedelta() if message.HasField("time_left") else None,
        create_time=_time_from(message, "create_time"),
        update_time=_time_from(message, "update_time"),
        end_time=_time_from(message, "end_time"),
        write_token=message.write_token,
        waiting_for=_error_from(message.waiting_for),
        error=_error_from(message.error),
    )


def import_failure_from(message: document_service_pb2.ImportFailure) -> results.ImportFailure:
    return results.ImportFailure(message.position, message.id, status.from_proto(message.status))


def _error_from(message: Status) -> ServiceError | None:
    return status.from_proto(message) if message.code else None


def _time_from(message: Any, field: str) -> datetime | None:
    if not message.HasField(field):
        return None
    stamp: Timestamp = getattr(message, field)
    return stamp.ToDatetime(UTC)


def ids_to(ids: Iterable[str]) -> list[str]:
    return [_checked_id(one, f"ids[{index}]") for index, one in enumerate(ids)]
