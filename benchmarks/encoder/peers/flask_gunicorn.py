"""Flask on gunicorn's threaded workers: tokenise, run, answer."""

from __future__ import annotations

from typing import Any

from flask import Flask, jsonify, request  # type: ignore[import-not-found]

from encoder.peers.text_encoder import TextEncoder

app = Flask(__name__)
encoder = TextEncoder()


@app.post("/encode")  # type: ignore[untyped-decorator]
def encode() -> Any:
    return jsonify({"vectors": encoder.encode_to_base64(request.get_json()["texts"])})
