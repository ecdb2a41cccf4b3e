"""The encoder as the search service calls it; calls carry deadline, caller and trace on."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import grpc
import numpy as np

from searchmesh.encoder.v1 import encoder_service_pb2 as pb
from searchmesh.encoder.v1 import encoder_service_pb2_grpc as pb_grpc
from searchmesh.type.v1 import segment_pb2
from searchmesh_common import call_context, status
from searchmesh_common.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    FieldViolation,
    Internal,
    InvalidRequest,
    ServiceError,
    Unauthenticated,
    Unavailable,
)
from searchmesh_search.at_once import at_once
from searchmesh_search.collection_spec import ModelInfo, Segmentation
from searchmesh_search.convert import values
from searchmesh_search.off_loop import off_loop
from searchmesh_search.parts import parts
from searchmesh_search.segments import Segments, TextSpan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from searchmesh_search.content import Content
    from searchmesh_search.deadline import Deadline

ENCODER_SERVICE: str = pb.DESCRIPTOR.services_by_name["EncoderService"].full_name

FINGERPRINT_MISMATCH = "FINGERPRINT_MISMATCH"
"""The reason of a FailedPrecondition: the collection's vectors are of another model."""

MAX_CONTENTS = 256
"""Most contents that the encoder takes in one call."""

MAX_CALL_CHARACTERS = 512 << 10
"""Characters, or bytes of media, in one call; a content of more goes alone. A text in segments
answers a vector for every thousand or so, a hundred at the worst: a call stays below 20 MiB of
384 floats, and mostly around one."""

FINGERPRINT_ATTEMPTS = 4
"""How often a call is made in all that meets another fingerprint than it asks for. While encoders
are replaced by ones of another model, the next one that is asked may still have it."""

CALLS_AT_ONCE = 4
"""Calls that one request of ours has with the encoder at a time: enough to keep it busy while
answers travel, too few to crowd out others."""

_SEGMENTATIONS: Mapping[Segmentation, segment_pb2.Segmentation.ValueType] = {
    Segmentation.WHOLE: segment_pb2.SEGMENTATION_WHOLE,
    Segmentation.SEGMENTS: segment_pb2.SEGMENTATION_SEGMENTS,
}


@dataclass(frozen=True, slots=True)
class EncodedQuery:
    """A query's vector, and how long the call to the encoder took that it came with."""

    vector: np.ndarray
    """(dimension,) float32, or (dimension / 8,) uint8 of packed bits."""
    encode_ms: float
    """From sending to answer."""
    queue_ms: float
    """Of that, waiting in the encoder."""


class EncoderClient:
    """Calls EncoderService. Raises only our error family; the encoder's own words are kept."""

    def __init__(self, channel: grpc.aio.Channel, *, query_share: float = 1.0) -> None:
        """channel: stays its maker's to close.

        query_share: part of the time left that encoding a query may take, from 0 to 1.
        """
        self._stub = pb_grpc.EncoderServiceStub(channel)
        self._query_share = query_share

    async def get_model(self, name: str, deadline: Deadline) -> ModelInfo:
        """Raises NotFound for an unknown model, Unavailable when the encoder is away."""
        try:
            model = await self._stub.GetModel(
                pb.GetModelRequest(name=name),
                timeout=deadline.remaining(),
                metadata=call_context.outgoing_metadata(),
            )
        except grpc.RpcError as error:
            raise _ours(error) from error
        return _model_info(model)

    async def encode_documents(
        self,
        model: str,
        fingerprint: str,
        segmentation: Segmentation,
        contents: Sequence[Content],
        deadline: Deadline,
    ) -> list[Segments | ServiceError]:
        """The segments, or that content's own error, for each content, however many there are;
        WHOLE makes one segment without a span.

        Raises FailedPrecondition when the model no longer has that fingerprint, Unavailable,
        Overloaded, DeadlineExceeded."""

        async def encode(part: Sequence[Content]) -> list[Segments | ServiceError]:
            request = pb.EncodeRequest(
                model=model,
                fingerprint=fingerprint,
                input_role=pb.INPUT_ROLE_DOCUMENT,
                lane=pb.LANE_BULK,
                segmentation=_SEGMENTATIONS[segmentation],
            )
            response = await self._encode(request, part, deadline)
            # its length says about how many vectors it holds
            return await off_loop(response.ByteSize() // 2048, _segments, response, part)

        encoded = await at_once(CALLS_AT_ONCE, encode, _parts(contents))
        return list(itertools.chain.from_iterable(encoded))

    async def encode_query(
        self, model: str, fingerprint: str, content: Content, deadline: Deadline
    ) -> EncodedQuery:
        """The vector of a query.

        Raises InvalidRequest for a content that cannot be encoded, and what `encode_documents`
        raises."""
        within = deadline.share(self._query_share)
        (outcome,) = await self._encode_queries(model, fingerprint, within, [content])
        if isinstance(outcome, ServiceError):
            raise outcome
        return outcome

    async def encode_queries(
        self, model: str, fingerprint: str, contents: Sequence[Content], deadline: Deadline
    ) -> list[EncodedQuery | ServiceError]:
        """The vector, or that content's own error, of each of any number of queries, encoded
        together. Raises what `encode_documents` raises."""
        within = deadline.share(self._query_share)
        encode = partial(self._encode_queries, model, fingerprint, within)
        encoded = await at_once(CALLS_AT_ONCE, encode, _parts(contents))
        return list(itertools.chain.from_iterable(encoded))

    async def _encode_queries(
        self, model: str, fingerprint: str, deadline: Deadline, contents: Sequence[Content]
    ) -> list[EncodedQuery | ServiceError]:
        """In one call."""
        request = pb.EncodeRequest(
            model=model,
            fingerprint=fingerprint,
            input_role=pb.INPUT_ROLE_QUERY,
            lane=pb.LANE_QUERY,
        )
        started = time.perf_counter()
        response = await self._encode(request, contents, deadline)
        encode_ms = (time.perf_counter() - started) * 1000
        return [
            one
            if isinstance(one, ServiceError)
            else EncodedQuery(one.vectors[0], encode_ms, response.timing.queue_ms)
            for one in _segments(response, contents)
        ]

    async def _encode(
        self, request: pb.EncodeRequest, contents: Sequence[Content], deadline: Deadline
    ) -> pb.EncodeResponse:
        """One answer; the request gets the contents."""
        request.contents.extend(values.content_message(one) for one in contents)
        for _ in range(FINGERPRINT_ATTEMPTS - 1):
            try:
                return await self._ask(request, deadline)
            except FailedPrecondition as error:
                if error.reason != FINGERPRINT_MISMATCH:
                    raise
        return await self._ask(request, deadline)

    async def _ask(self, request: pb.EncodeRequest, deadline: Deadline) -> pb.EncodeResponse:
        """One call, to whichever encoder is next."""
        try:
            response = await self._stub.Encode(
                request,
                timeout=deadline.remaining(),
                metadata=call_context.outgoing_metadata(),
            )
        except grpc.RpcError as error:
            raise _with_our_reason(_ours(error), request.model, request.fingerprint) from error
        if response.fingerprint != request.fingerprint:
            raise _mismatch(request.model, request.fingerprint, response.fingerprint)
        answered, asked = len(response.embeddings), len(request.contents)
        if answered != asked:
            raise Internal(f"the encoder answered {answered} of {asked} contents")
        return response


def _with_our_reason(error: ServiceError, model: str, pinned: str) -> ServiceError:
    """The encoder's refusal of a fingerprint in terms of the collection that pinned it."""
    if isinstance(error, FailedPrecondition) and error.reason == "WRONG_FINGERPRINT":
        return _mismatch(model, pinned, error.metadata.get("fingerprint", ""))
    return error


def _mismatch(model: str, pinned: str, actual: str) -> FailedPrecondition:
    return FailedPrecondition(
        FINGERPRINT_MISMATCH,
        f"the collection holds vectors of model {model} with fingerprint {pinned}, the encoder now "
        f"has {actual}; serve the model of before, or make a new collection",
        {"model": model, "expected": pinned, "actual": actual},
    )


def _ours(error: grpc.RpcError) -> ServiceError:
    """A failed call as our caller is told of it, who has nothing to do with our credentials."""
    ours = status.from_rpc_error(error)
    match ours:
        case Unauthenticated():
            return Unavailable("the encoder does not accept this service's credentials")
        case DeadlineExceeded():
            return DeadlineExceeded(f"the encoder did not answer in time: {ours.message}")
        case _:
            return ours


def _parts(contents: Sequence[Content]) -> Iterator[Sequence[Content]]:
    """Contents in calls of at most MAX_CONTENTS and MAX_CALL_CHARACTERS, nearly equal in number so
    that none is left to the last.
    """
    calls = max(1, -(-len(contents) // MAX_CONTENTS))
    most = -(-len(contents) // calls)
    return parts(contents, lambda one: len(one.data), most=most, most_size=MAX_CALL_CHARACTERS)


def _model_info(model: pb.Model) -> ModelInfo:
    return ModelInfo(
        name=model.name,
        fingerprint=model.fingerprint,
        modality=values.MODALITIES[model.modality],
        space=values.space(model.vector_space),
    )


def _segments(
    response: pb.EncodeResponse, contents: Sequence[Content]
) -> list[Segments | ServiceError]:
    return [
        _outcome(one, content) for one, content in zip(response.embeddings, contents, strict=True)
    ]


def _outcome(embedding: pb.Embedding, content: Content) -> Segments | ServiceError:
    match embedding.WhichOneof("outcome"):
        case "error":
            return _renamed(
                status.from_proto(embedding.error), values.MODALITY_FIELDS[content.modality]
            )
        case "vector":
            return Segments(values.vector(embedding.vector, "vector")[None])
        case "segments":
            parts = embedding.segments.segments
            return Segments(
                np.stack([values.vector(one.vector, "vector") for one in parts]),
                [TextSpan(one.segment.text.start, one.segment.text.end) for one in parts],
            )
        case _:
            return Internal("the encoder answered neither vectors nor an error")


def _renamed(error: ServiceError, field: str) -> ServiceError:
    """A content's own error under the name that our caller gave the content by."""
    if not isinstance(error, InvalidRequest):
        return error
    return InvalidRequest(*(FieldViolation(field, one.description) for one in error.violations))
