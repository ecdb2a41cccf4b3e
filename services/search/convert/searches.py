"""Requests and responses of SearchService."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf import struct_pb2

from searchmesh.search.v1 import document_pb2
from searchmesh.search.v1 import search_service_pb2 as pb
from searchmesh.type.v1 import segment_pb2, vector_pb2
from searchmesh_common import status
from searchmesh_common.errors import FieldViolation, InvalidRequest, Unsupported
from searchmesh_search import write_tokens
from searchmesh_search.content import Content
from searchmesh_search.convert import filters, values
from searchmesh_search.hybrid import Fusion
from searchmesh_search.searcher import Mode, SearchQuery

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from searchmesh_search.hybrid import Ranks
    from searchmesh_search.searcher import Explanation, Hit, SearchResult
    from searchmesh_search.segments import TextSpan

DEFAULT_LIMIT = 10

CONTENT_FIELD = "$content"
ID_FIELD = "$id"
EVERY_ATTRIBUTE = "*"

_MODES: Mapping[pb.Mode.ValueType, Mode] = {
    pb.MODE_UNSPECIFIED: Mode.DENSE,
    pb.MODE_DENSE: Mode.DENSE,
    pb.MODE_LEXICAL: Mode.LEXICAL,
    pb.MODE_HYBRID: Mode.HYBRID,
}
_MODE_VALUES: Mapping[Mode, pb.Mode.ValueType] = {mode: value for value, mode in _MODES.items()}

_MODE_METRICS: Mapping[Mode, vector_pb2.Metric.ValueType] = {
    Mode.LEXICAL: vector_pb2.METRIC_BM25,
    Mode.HYBRID: vector_pb2.METRIC_RANK_FUSION,
}
"""What scores are in that are not in the collection's metric."""

_LATER = (
    "highlight",
    "rerank",
    "substructure",
)
"""Fields of the contract that this version does not implement."""


def query(request: pb.SearchRequest) -> SearchQuery:
    """Raises InvalidRequest, Unsupported for a field that is not implemented yet."""
    _refuse_later(request)
    check_output_fields(request.output_fields)
    kind = request.WhichOneof("query")
    assert kind is not None  # the contract requires it
    content = vector = document_id = None
    if kind == "vector":
        vector = values.vector(request.vector, "vector")
    elif kind == "document_id":
        document_id = request.document_id
    else:
        content = Content(values.CONTENT_FIELDS[kind], getattr(request, kind))
    return SearchQuery(
        collection=request.collection,
        content=content,
        vector=vector,
        document_id=document_id,
        mode=_MODES[request.mode],
        fusion=_fusion(request),
        allow_partial=request.allow_partial,
        limit=request.limit if request.HasField("limit") else DEFAULT_LIMIT,
        offset=request.offset,
        min_score=request.min_score if request.HasField("min_score") else None,
        where=filters.where(request),
        read_after=write_tokens.decode(request.read_after),
        with_documents=wants_documents(request.output_fields),
    )


def response(request: pb.SearchRequest, result: SearchResult, total_ms: float) -> pb.SearchResponse:
    """The answer, with of each document what `output_fields` asked for."""
    message = pb.SearchResponse(
        hits=hits(result, request.output_fields),
        metric=_metric(result),
        partial=bool(result.missing),
        missing=[
            pb.MissingList(mode=_MODE_VALUES[mode], error=status.to_proto(error))
            for mode, error in result.missing.items()
        ],
    )
    if request.explain:
        for hit, found in zip(message.hits, result.hits, strict=True):
            if found.ranks is not None:
                hit.explain.CopyFrom(_ranks(found.ranks))
        message.explain.CopyFrom(_explain(result.explanation, total_ms))
    return message


def hits(result: SearchResult, output_fields: Sequence[str]) -> list[pb.Hit]:
    """With of each document what `output_fields` asked for."""
    names = frozenset(output_fields or [EVERY_ATTRIBUTE])
    return [_hit(hit, names) for hit in result.hits]


def size(result: SearchResult) -> int:
    """How many items of `off_loop` its response is."""
    kib = sum(len(hit.stored or b"") for hit in result.hits) // 1024
    return len(result.hits) + kib


def _refuse_later(request: pb.SearchRequest) -> None:
    given = {field.name for field, _ in request.ListFields()}
    later = [name for name in _LATER if name in given]
    if later:
        raise Unsupported(f"{', '.join(later)}: not implemented yet; leave it out")


def _fusion(request: pb.SearchRequest) -> Fusion:
    """Raises InvalidRequest where there is nothing to join, or both lists are to count nothing."""
    if not request.HasField("fusion"):
        return Fusion()
    if request.mode != pb.MODE_HYBRID:
        raise InvalidRequest.of("fusion", "goes with MODE_HYBRID; leave it out")
    given = {field.name: value for field, value in request.fusion.ListFields()}
    fusion = Fusion(**given)
    if not fusion.dense_weight and not fusion.lexical_weight:
        raise InvalidRequest.of("fusion", "both weights are 0; one must be more")
    return fusion


def _metric(result: SearchResult) -> vector_pb2.Metric.ValueType:
    return _MODE_METRICS.get(result.mode) or values.METRIC_VALUES[result.metric]


def _ranks(ranks: Ranks) -> pb.HitExplain:
    message = pb.HitExplain()
    if ranks.dense is not None:
        message.dense_score, message.dense_rank = ranks.dense.score, ranks.dense.rank
        message.dense_contribution = ranks.dense.contribution
    if ranks.lexical is not None:
        message.lexical_score, message.lexical_rank = ranks.lexical.score, ranks.lexical.rank
        message.lexical_contribution = ranks.lexical.contribution
    return message


def wants_documents(output_fields: Sequence[str]) -> bool:
    """Whether hits carry anything of what was stored."""
    return list(output_fields) != [ID_FIELD]


def check_output_fields(output_fields: Sequence[str]) -> None:
    """Raises InvalidRequest for names with a $ that say nothing."""
    faults = [
        FieldViolation(
            f"output_fields[{place}]",
            f"{name!r} given; the names that begin with $ are {CONTENT_FIELD} and {ID_FIELD}",
        )
        for place, name in enumerate(output_fields)
        if name.startswith("$") and name not in (CONTENT_FIELD, ID_FIELD)
    ]
    if faults:
        raise InvalidRequest(*faults)


def _hit(hit: Hit, names: frozenset[str]) -> pb.Hit:
    message = pb.Hit(id=hit.document_id, score=hit.score)
    if hit.stored is None:
        return message
    document = document_pb2.Document.FromString(hit.stored)
    if EVERY_ATTRIBUTE in names:
        message.attributes.CopyFrom(document.attributes)
    else:
        message.attributes.CopyFrom(_chosen(document.attributes, names))
    if CONTENT_FIELD in names and document.HasField("content"):
        message.content.CopyFrom(document.content)
    if hit.span is not None:
        message.segment.text.CopyFrom(_passage(hit.span, document.content.text))
    return message


def _passage(span: TextSpan, text: str) -> segment_pb2.TextSpan:
    # those that the encoder made have no white space around them, those that a caller gave may
    return segment_pb2.TextSpan(
        start=span.start, end=span.end, text=text[span.start : span.end].strip()
    )


def _chosen(attributes: struct_pb2.Struct, names: frozenset[str]) -> struct_pb2.Struct:
    chosen = struct_pb2.Struct()
    for name in names & attributes.fields.keys():
        chosen.fields[name].CopyFrom(attributes.fields[name])
    return chosen


def _explain(explanation: Explanation, total_ms: float) -> pb.Explain:
    return pb.Explain(
        encode_ms=explanation.encode_ms,
        queue_ms=explanation.queue_ms,
        search_ms=explanation.search_ms,
        fuse_ms=explanation.fuse_ms,
        total_ms=total_ms,
        engine=explanation.engine,
        index=explanation.index,
        model=explanation.model,
        fingerprint=explanation.fingerprint,
    )
