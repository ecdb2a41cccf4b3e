"""EncoderService: translate, call the core, translate back."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

from searchmesh.encoder.v1 import encoder_service_pb2 as pb
from searchmesh.encoder.v1 import encoder_service_pb2_grpc as pb_grpc
from searchmesh.type.v1 import segment_pb2
from searchmesh_common.errors import Unsupported
from searchmesh_encoder import convert
from searchmesh_encoder.stream import EncodeStream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from google.protobuf.empty_pb2 import Empty
    from google.protobuf.message import Message
    from grpc.aio import ServicerContext

    from searchmesh_encoder.encoder import Encoder
    from searchmesh_encoder.registry import ModelRegistry

    Context = ServicerContext[Any, Any]

SERVICE: str = pb.DESCRIPTOR.services_by_name["EncoderService"].full_name


class EncoderServicer(pb_grpc.EncoderServiceServicer):
    """Contents in, vectors out."""

    def __init__(
        self,
        encoder: Encoder,
        registry: ModelRegistry,
        *,
        validate: Callable[[Message], None],
        draining: asyncio.Event,
        stream_requests: int,
        most_answer_bytes: int,
    ) -> None:
        """validate: raises InvalidRequest; for the messages of streams.

        draining: set when the server wants streams to end. stream_requests: most requests of one
        stream that are worked on at once. most_answer_bytes: the largest message that can be sent.
        """
        self._encoder = encoder
        self._registry = registry
        self._validate = validate
        self._draining = draining
        self._stream_requests = stream_requests
        self._most_answer_bytes = most_answer_bytes

    async def Encode(self, request: pb.EncodeRequest, context: Context) -> pb.EncodeResponse:
        return await self._encode(request)

    async def EncodeStream(
        self, requests: AsyncIterator[pb.EncodeStreamRequest], context: Context
    ) -> AsyncGenerator[pb.EncodeStreamResponse]:
        stream = EncodeStream(self._answer, self._draining, self._stream_requests)
        async with aclosing(stream.responses(requests)) as responses:
            async for response in responses:
                yield response

    async def ListModels(
        self, request: pb.ListModelsRequest, context: Context
    ) -> pb.ListModelsResponse:
        return convert.model_page(request, self._registry.all())

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.Model:
        return convert.model(self._registry.get(request.name))

    async def LoadModel(self, request: pb.LoadModelRequest, context: Context) -> pb.Model:
        raise Unsupported(
            "LoadModel is not implemented yet; name the model in ENCODER_MODELS and restart"
        )

    async def UnloadModel(self, request: pb.UnloadModelRequest, context: Context) -> Empty:
        raise Unsupported(
            "UnloadModel is not implemented yet; leave the model out of ENCODER_MODELS and restart"
        )

    async def _answer(self, request: pb.EncodeStreamRequest) -> pb.EncodeStreamResponse:
        self._validate(request)
        return pb.EncodeStreamResponse(id=request.id, response=await self._encode(request.request))

    async def _encode(self, request: pb.EncodeRequest) -> pb.EncodeResponse:
        encoded = await self._encoder.encode(convert.encode_call(request))
        write = partial(convert.encode_response, request, encoded, self._most_answer_bytes)
        if request.segmentation == segment_pb2.SEGMENTATION_SEGMENTS:
            # thousands of vectors take longer to write than others should wait for the event loop
            return await asyncio.to_thread(write)
        return write()
