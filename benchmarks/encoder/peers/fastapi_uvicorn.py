"""FastAPI on uvicorn: tokenise, run, answer, in a coroutine.

Each worker process computes one call at a time. Leaving the computation to FastAPI's threads was
tried: the threads of a process then get into each other's way.
"""

from __future__ import annotations

from fastapi import FastAPI  # type: ignore[import-not-found]
from fastapi.responses import JSONResponse  # type: ignore[import-not-found]
from pydantic import BaseModel

from encoder.peers.text_encoder import TextEncoder


class EncodeRequest(BaseModel):
    """The texts to encode."""

    texts: list[str]


app = FastAPI()
encoder = TextEncoder()


@app.post("/encode")  # type: ignore[untyped-decorator]
async def encode(request: EncodeRequest) -> JSONResponse:
    return JSONResponse({"vectors": encoder.encode_to_base64(request.texts)})
