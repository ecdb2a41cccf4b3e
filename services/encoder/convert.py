"""Proto messages to the encoder's own types, and back.

Requests are read by field only: their classes are those of the contract's own pool.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from searchmesh.encoder.v1 import encoder_service_pb2 as pb
from searchmesh.type.v1 import content_pb2, segment_pb2, vector_pb2
from searchmesh_common import call_context, page_tokens
from searchmesh_common.errors import FieldViolation, InvalidRequest, ServiceError
from searchmesh_common.status import to_proto
from searchmesh_encoder import vectors
from searchmesh_encoder.content import Content
from searchmesh_encoder.encoder import EncodeCall
from searchmesh_encoder.models.card import Metric, Modality
from searchmesh_encoder.models.fingerprint import fingerprint
from searchmesh_encoder.prepared import InputRole, OnTooLong, PrepareOptions, Segmentation
from searchmesh_encoder.registry import State
from searchmesh_encoder.work import Lane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from searchmesh_encoder.embedding import SegmentVector
    from searchmesh_encoder.encoder import Encoded
    from searchmesh_encoder.registry import KnownModel

_DEFAULT_PAGE_SIZE = 100
_MODELS_SCOPE = ("models",)

_AROUND_AN_ANSWER_BYTES = 1024
"""Room for what a stream's answer has beside the response."""

_ERROR_BYTES = 512
"""Room for the error of a content that has no room."""

_CONTENT_FIELDS = {
    "text": Modality.TEXT,
    "image": Modality.IMAGE,
    "audio": Modality.AUDIO,
    "video": Modality.VIDEO,
    "smiles": Modality.MOLECULE,
    "sequence": Modality.SEQUENCE,
}
_MODALITIES = {
    modality: content_pb2.Modality.Value(f"MODALITY_{modality.name}") for modality in Modality
}
_METRICS = {metric: vector_pb2.Metric.Value(f"METRIC_{metric.name}") for metric in Metric}
_STATES = {state: pb.ModelState.Value(f"MODEL_STATE_{state.name}") for state in State}


def encode_call(request: pb.EncodeRequest) -> EncodeCall:
    """What an EncodeRequest asks for, within the deadline of the current call.

    Raises InvalidRequest for a form of vectors that no model has.
    """
    vectors.check_format(request.vector_format)
    current = call_context.current()
    return EncodeCall(
        model=request.model,
        contents=[_content(one) for one in request.contents],
        lane=Lane.BULK if request.lane == pb.LANE_BULK else Lane.QUERY,
        options=PrepareOptions(
            InputRole.QUERY if request.input_role == pb.INPUT_ROLE_QUERY else InputRole.DOCUMENT,
            OnTooLong.REJECT
            if request.on_too_long == pb.ON_TOO_LONG_REJECT
            else OnTooLong.TRUNCATE,
            Segmentation.SEGMENTS
            if request.segmentation == segment_pb2.SEGMENTATION_SEGMENTS
            else Segmentation.WHOLE,
        ),
        dimensions=request.dimensions,
        fingerprint=request.fingerprint,
        deadline=current.deadline if current else None,
    )


def encode_response(
    request: pb.EncodeRequest, encoded: Encoded, most_bytes: int
) -> pb.EncodeResponse:
    """The answer to a request, its vectors in the form that the request asks for.

    most_bytes: the largest answer that can be sent; contents whose segments have no room in it are
    answered with an error in their place.
    """
    response = pb.EncodeResponse(
        model=encoded.model.name,
        fingerprint=encoded.model.fingerprint,
        dimension=request.dimensions or encoded.model.card.dimension,
        timing=pb.Timing(
            preprocess_ms=encoded.preprocess_seconds * 1000,
            queue_ms=encoded.queue_seconds * 1000,
            compute_ms=encoded.compute_seconds * 1000,
            total_ms=encoded.total_seconds * 1000,
        ),
    )
    messages: list[vector_pb2.Vector] = []
    written: list[np.ndarray] = []
    for index, one in enumerate(encoded.embeddings):
        answer = response.embeddings.add(
            tokens=one.tokens, original_tokens=one.original_tokens, truncated=one.truncated
        )
        if isinstance(one.outcome, ServiceError):
            answer.error.CopyFrom(to_proto(_in_its_place(one.outcome, index)))
        elif isinstance(one.outcome, np.ndarray):
            messages.append(answer.vector)
            written.append(one.outcome)
        else:
            messages += _add_segments(answer.segments, one.outcome)
            written += [part.vector for part in one.outcome]
    if request.dimensions not in (0, encoded.model.card.dimension):
        written = list(vectors.leading(written, request.dimensions))
    vectors.write(messages, written, request.vector_format)
    if request.segmentation == segment_pb2.SEGMENTATION_SEGMENTS:
        _make_room(response, most_bytes - _AROUND_AN_ANSWER_BYTES)
    return response


def _add_segments(
    answer: pb.EmbeddedSegments, parts: Sequence[SegmentVector]
) -> list[vector_pb2.Vector]:
    """Add each part's place; returns the messages that its vector is to be written to."""
    messages = []
    for part in parts:
        added = answer.segments.add()
        span = part.segment
        added.segment.text.start = span.start
        added.segment.text.end = span.end
        added.segment.text.text = span.text
        messages.append(added.vector)
    return messages


def _in_its_place(error: ServiceError, index: int) -> ServiceError:
    """A content's own error with the content's path before the field's."""
    if not isinstance(error, InvalidRequest):
        return error
    path = f"contents[{index}]"
    violations = (
        FieldViolation(f"{path}.{one.field}" if one.field else path, one.description)
        for one in error.violations
    )
    return InvalidRequest(*violations, omitted=error.omitted)


def _make_room(response: pb.EncodeResponse, most_bytes: int) -> None:
    """Put an error in the place of contents whose segments do not fit, from the first such on."""
    if response.ByteSize() <= most_bytes:
        return
    room = most_bytes - _ERROR_BYTES * len(response.embeddings)
    for index, answer in enumerate(response.embeddings):
        room -= answer.ByteSize()
        if room >= 0 or not answer.HasField("segments"):
            continue
        room += answer.ByteSize()
        error = InvalidRequest.of(
            f"contents[{index}]",
            f"its {len(answer.segments.segments)} segments take {answer.ByteSize()} bytes, for "
            f"which the answer has no room; send it in another call, or in parts",
        )
        answer.error.CopyFrom(to_proto(error))


def model(known: KnownModel) -> pb.Model:
    """A model as callers see it."""
    card = known.card
    return pb.Model(
        name=card.name,
        description=card.description,
        modality=_MODALITIES[card.modality],
        vector_space=vector_pb2.VectorSpace(
            dimension=card.dimension,
            metric=_METRICS[card.metric],
            kind=vector_pb2.VECTOR_KIND_FLOAT,
        ),
        fingerprint=fingerprint(card),
        window=card.window,
        precision=card.precision.value,
        dimensions=card.dimensions,
        state=_STATES[known.state],
        state_message=known.message,
        default_model=known.is_default,
        license=card.license,
    )


def model_page(
    request: pb.ListModelsRequest, models: Sequence[KnownModel]
) -> pb.ListModelsResponse:
    """One page of models, which come by name. Raises InvalidRequest for a token of another list."""
    last = page_tokens.decode(_MODELS_SCOPE, request.page_token)
    rest = [one for one in models if one.card.name > last]
    size = request.page_size or _DEFAULT_PAGE_SIZE
    page = rest[:size]
    return pb.ListModelsResponse(
        models=[model(one) for one in page],
        next_page_token=page_tokens.encode(_MODELS_SCOPE, page[-1].card.name)
        if len(rest) > size
        else "",
    )


def _content(content: content_pb2.Content) -> Content:
    field = content.WhichOneof("content")
    if field is None:
        return Content(None, "")
    return Content(_CONTENT_FIELDS[field], getattr(content, field))
