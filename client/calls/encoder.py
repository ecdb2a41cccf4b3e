"""What the encoder is asked."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from searchmesh import convert
from searchmesh.encoder.v1 import encoder_service_pb2
from searchmesh.exchange import EncodeStream
from searchmesh.resources import Lane, Model, OnTooLong, Role, Segmentation, VectorFormat
from searchmesh.rpc import Call, Page, Pages, Rpc
from searchmesh.type.v1 import segment_pb2, vector_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from searchmesh.contents import Content
    from searchmesh.results import EncodeResult

_FILE = encoder_service_pb2.DESCRIPTOR
_ENCODE = Rpc.of(_FILE, "EncoderService.Encode", encoder_service_pb2.EncodeResponse)
_ENCODE_STREAM = Rpc.of(
    _FILE, "EncoderService.EncodeStream", encoder_service_pb2.EncodeStreamResponse
)
_LIST_MODELS = Rpc.of(_FILE, "EncoderService.ListModels", encoder_service_pb2.ListModelsResponse)
_GET_MODEL = Rpc.of(_FILE, "EncoderService.GetModel", encoder_service_pb2.Model)

# 256 contents of the largest size, on a small machine that does other work too
_ENCODE_TIMEOUT = 60.0
_LOOKUP_TIMEOUT = 10.0


def encode(
    model: str,
    contents: Sequence[Content],
    *,
    role: Role = Role.DOCUMENT,
    lane: Lane = Lane.QUERY,
    on_too_long: OnTooLong = OnTooLong.TRUNCATE,
    segmentation: Segmentation = Segmentation.WHOLE,
    dimensions: int = 0,
    vector_format: VectorFormat = VectorFormat.FLOAT32_LE,
    fingerprint: str = "",
    timeout: float | None = None,
) -> Call[EncodeResult]:
    """Turn contents into vectors, in the order given; one that cannot be encoded fails alone.

    contents: 1 to 256, of the model's modality.
    lane: BULK where throughput matters and latency does not.
    segmentation: SEGMENTS gives a content a vector for each of its parts.
    dimensions: leading components to keep, one of the model's `dimensions`; 0 for all.
    vector_format: how vectors travel; they are read as float32 again.
    fingerprint: what the model's must be; another raises FailedPrecondition.
    """
    pb = encoder_service_pb2
    request = pb.EncodeRequest(
        model=model,
        contents=[
            convert.content_to(content, f"contents[{index}]")
            for index, content in enumerate(contents)
        ],
        lane=convert.enum_to(pb.Lane, "LANE", lane),
        input_role=convert.enum_to(pb.InputRole, "INPUT_ROLE", role),
        on_too_long=convert.enum_to(pb.OnTooLong, "ON_TOO_LONG", on_too_long),
        segmentation=convert.enum_to(segment_pb2.Segmentation, "SEGMENTATION", segmentation),
        dimensions=dimensions,
        vector_format=convert.enum_to(vector_pb2.VectorFormat, "VECTOR_FORMAT", vector_format),
        fingerprint=fingerprint,
    )
    return Call(_ENCODE, request, convert.encode_result_from, _ENCODE_TIMEOUT, timeout)


def encode_stream(
    model: str,
    batches: Iterable[Sequence[Content]],
    *,
    role: Role = Role.DOCUMENT,
    lane: Lane = Lane.BULK,
    on_too_long: OnTooLong = OnTooLong.TRUNCATE,
    segmentation: Segmentation = Segmentation.WHOLE,
    dimensions: int = 0,
    vector_format: VectorFormat = VectorFormat.FLOAT32_LE,
    fingerprint: str = "",
    in_flight: int = 16,
    timeout: float | None = None,
) -> EncodeStream:
    """Encode any number of batches on one stream, and answer each as it is done: see its `index`.

    A batch that fails is answered with its error, and the others go on. A stream that breaks, as
    where a server makes way for a new one, is opened again with what was not answered, and a batch
    that the service was too busy for is sent again. The other arguments are those of `encode`.
    batches: of 1 to 256 contents each.
    in_flight: most batches that were taken and not answered; so many are taken before the first
        answer is given.
    timeout: seconds for all of the stream. Default: for ever, whatever the connection says.
    """
    ask = functools.partial(
        encode,
        model,
        role=role,
        lane=lane,
        on_too_long=on_too_long,
        segmentation=segmentation,
        dimensions=dimensions,
        vector_format=vector_format,
        fingerprint=fingerprint,
    )

    def request(index: int, contents: Sequence[Content]) -> encoder_service_pb2.EncodeStreamRequest:
        asked = ask(contents).request
        assert isinstance(asked, encoder_service_pb2.EncodeRequest)
        return encoder_service_pb2.EncodeStreamRequest(id=str(index), request=asked)

    return EncodeStream(_ENCODE_STREAM, batches, request, in_flight, timeout)


def get_model(name: str, *, timeout: float | None = None) -> Call[Model]:
    """Get one model. Raises NotFound."""
    request = encoder_service_pb2.GetModelRequest(name=name)
    return Call(_GET_MODEL, request, convert.model_from, _LOOKUP_TIMEOUT, timeout)


def list_models(*, page_size: int = 100, timeout: float | None = None) -> Pages[Model]:
    """Iterate over the models that the encoder knows, by name, loaded or not.

    page_size: models fetched in one call, at most 1000. timeout: of each call.
    """

    def page(token: str) -> Call[Page[Model]]:
        request = encoder_service_pb2.ListModelsRequest(page_size=page_size, page_token=token)
        return Call(_LIST_MODELS, request, _models_from, _LOOKUP_TIMEOUT, timeout)

    return Pages(page)


def _models_from(response: encoder_service_pb2.ListModelsResponse) -> Page[Model]:
    return Page([convert.model_from(model) for model in response.models], response.next_page_token)
