"""MLServer: a runtime of its own, behind MLServer's adaptive batching."""

from __future__ import annotations

from mlserver import MLModel  # type: ignore[import-not-found]
from mlserver.codecs import StringCodec  # type: ignore[import-not-found]
from mlserver.types import (  # type: ignore[import-not-found]
    InferenceRequest,
    InferenceResponse,
    ResponseOutput,
)

from encoder.peers.text_encoder import TextEncoder


class TextRuntime(MLModel):  # type: ignore[misc]
    """Texts as BYTES in, vectors in base64 as BYTES out."""

    async def load(self) -> bool:
        self._encoder = TextEncoder()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        vectors = self._encoder.encode_to_base64(StringCodec.decode_input(payload.inputs[0]))
        output = ResponseOutput(
            name="vectors", datatype="BYTES", shape=[len(vectors), 1], data=vectors
        )
        return InferenceResponse(model_name=self.name, outputs=[output])
