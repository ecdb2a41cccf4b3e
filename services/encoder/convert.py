"""Proto messages to the encoder's own types, and back.

Requests are read by field only: their classes are those of the contract's own pool.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from searchmesh.encoder.v1 import encoder_service_pb2 as pb
from searchmesh.type.v1 import content_pb2, segment_pb2, vector_pb2
from searchmesh_common import call_context, packed_floats, page_tokens
from searchmesh_common.errors import InvalidRequest, ServiceError, Unsupported
from searchmesh_common.status import to_proto
from searchmesh_encoder.content import Content
from searchmesh_encoder.encoder import EncodeCall
from searchmesh_encoder.models.card import Metric, Modality
from searchmesh_encoder.models.fingerprint import fingerprint
from searchmesh_encoder.prepared import InputRole, OnTooLong, PrepareOptions
from searchmesh_encoder.registry import State
from searchmesh_encoder.work import Lane

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from searchmesh_encoder.encoder import Encoded
    from searchmesh_encoder.registry import KnownModel

_DEFAULT_PAGE_SIZE = 100
_MODELS_SCOPE = ("models",)

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

    Raises Unsupported and InvalidRequest for what no model can do yet, or at all.
    """
    if request.segmentation == segment_pb2.SEGMENTATION_SEGMENTS:
        raise Unsupported("segmentation: SEGMENTATION_SEGMENTS is not implemented yet")
    _check_vector_format(request.vector_format)
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
        ),
        dimensions=request.dimensions,
        fingerprint=request.fingerprint,
        deadline=current.deadline if current else None,
    )


def encode_response(request: pb.EncodeRequest, encoded: Encoded) -> pb.EncodeResponse:
    """The answer to a request, its vectors in the form that the request asks for."""
    response = pb.EncodeResponse(
        model=encoded.model.name,
        fingerprint=encoded.model.fingerprint,
        dimension=encoded.model.card.dimension,
        timing=pb.Timing(
            preprocess_ms=encoded.preprocess_seconds * 1000,
            queue_ms=encoded.queue_seconds * 1000,
            compute_ms=encoded.compute_seconds * 1000,
            total_ms=encoded.total_seconds * 1000,
        ),
    )
    write = _WRITERS[request.vector_format]
    for one in encoded.embeddings:
        answer = response.embeddings.add(
            tokens=one.tokens, original_tokens=one.original_tokens, truncated=one.truncated
        )
        if isinstance(one.outcome, ServiceError):
            answer.error.CopyFrom(to_proto(one.outcome))
        else:
            write(answer.vector, one.outcome)
    return response


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


def _check_vector_format(vector_format: int) -> None:
    if vector_format == vector_pb2.VECTOR_FORMAT_INT8_SCALED:
        raise Unsupported("vector_format: VECTOR_FORMAT_INT8_SCALED is not implemented yet")
    if vector_format == vector_pb2.VECTOR_FORMAT_PACKED_BITS:
        raise InvalidRequest.of(
            "vector_format",
            "VECTOR_FORMAT_PACKED_BITS given, which only binary models answer; ask for floats",
        )


def _write_float32(vector: vector_pb2.Vector, components: np.ndarray) -> None:
    vector.float32_le = components.astype("<f4", copy=False).tobytes()


def _write_float16(vector: vector_pb2.Vector, components: np.ndarray) -> None:
    vector.float16_le = components.astype("<f2").tobytes()


def _write_floats(vector: vector_pb2.Vector, components: np.ndarray) -> None:
    packed_floats.write(vector.floats, components)


_WRITERS: dict[int, Callable[[vector_pb2.Vector, np.ndarray], None]] = {
    vector_pb2.VECTOR_FORMAT_UNSPECIFIED: _write_float32,
    vector_pb2.VECTOR_FORMAT_FLOAT32_LE: _write_float32,
    vector_pb2.VECTOR_FORMAT_FLOAT16_LE: _write_float16,
    vector_pb2.VECTOR_FORMAT_FLOATS: _write_floats,
}
