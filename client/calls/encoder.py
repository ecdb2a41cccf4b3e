"""What the encoder is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from searchmesh import convert
from searchmesh.encoder.v1 import encoder_service_pb2
from searchmesh.resources import Lane, Model, Role
from searchmesh.rpc import Call, Page, Pages, Rpc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from searchmesh.contents import Content
    from searchmesh.results import EncodeResult

_FILE = encoder_service_pb2.DESCRIPTOR
_ENCODE = Rpc.of(_FILE, "EncoderService.Encode", encoder_service_pb2.EncodeResponse)
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
    reject_too_long: bool = False,
    fingerprint: str = "",
    timeout: float | None = None,
) -> Call[EncodeResult]:
    """Turn contents into vectors, in the order given; one that cannot be encoded fails alone.

    contents: 1 to 256, of the model's modality.
    lane: BULK where throughput matters and latency does not.
    reject_too_long: makes a content longer than the model's window that content's error; without,
        its end is left out and `truncated` says so.
    fingerprint: what the model's must be; another raises FailedPrecondition.
    """
    on_too_long = (
        encoder_service_pb2.ON_TOO_LONG_REJECT
        if reject_too_long
        else encoder_service_pb2.ON_TOO_LONG_TRUNCATE
    )
    request = encoder_service_pb2.EncodeRequest(
        model=model,
        contents=[
            convert.content_to(content, f"contents[{index}]")
            for index, content in enumerate(contents)
        ],
        lane=convert.enum_to(encoder_service_pb2.Lane, "LANE", lane),
        input_role=convert.enum_to(encoder_service_pb2.InputRole, "INPUT_ROLE", role),
        on_too_long=on_too_long,
        fingerprint=fingerprint,
    )
    return Call(_ENCODE, request, convert.encode_result_from, _ENCODE_TIMEOUT, timeout)


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
