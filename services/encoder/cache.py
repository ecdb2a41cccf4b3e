"""Embeddings of contents that were encoded before, the least recently used forgotten first."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from searchmesh_common.errors import ServiceError
from searchmesh_encoder.embedding import Embedding, SegmentVector

if TYPE_CHECKING:
    from searchmesh_encoder.content import Content
    from searchmesh_encoder.prepared import PrepareOptions

_DIGEST_BYTES = 24
"""So many that two contents never share a key, not even where somebody tries."""

_ENTRY_BYTES = 640
"""What an entry takes besides its components: key, objects, its place in the order."""

_SEGMENT_BYTES = 320


def content_key(fingerprint: str, options: PrepareOptions, content: Content) -> bytes:
    """A digest of all that an embedding depends on; takes about a millisecond a megabyte."""
    data = content.data
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogatepass")
    kind = content.modality.value if content.modality else ""
    what = (fingerprint, kind, options.role.value, options.on_too_long.value)
    head = "\0".join((*what, options.segmentation.value, "")).encode()
    return hashlib.blake2b(head + data, digest_size=_DIGEST_BYTES).digest()


class EmbeddingCache:
    """Embeddings by content key, as many as fit; used on the event loop alone."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._embeddings: OrderedDict[bytes, tuple[Embedding, int]] = OrderedDict()

    @property
    def held_bytes(self) -> int:
        """Memory that the entries take, about."""
        return self._bytes

    def get(self, key: bytes) -> Embedding | None:
        """What was put under a key, unless it was forgotten since."""
        found = self._embeddings.get(key)
        if found is None:
            return None
        self._embeddings.move_to_end(key)
        return found[0]

    def put(self, key: bytes, embedding: Embedding) -> None:
        """Keep an embedding, unless it is an error, which may be another one next time."""
        if isinstance(embedding.outcome, ServiceError):
            return
        size = _size(embedding)
        if size > self._most_bytes:
            return
        known = self._embeddings.pop(key, None)
        if known:
            self._bytes -= known[1]
        self._embeddings[key] = (_own(embedding), size)
        self._bytes += size
        while self._bytes > self._most_bytes:
            _, (_, freed) = self._embeddings.popitem(last=False)
            self._bytes -= freed


def _size(embedding: Embedding) -> int:
    outcome = embedding.outcome
    assert not isinstance(outcome, ServiceError)
    if isinstance(outcome, np.ndarray):
        return _ENTRY_BYTES + outcome.nbytes
    parts = (
        # a character takes up to four bytes
        _SEGMENT_BYTES + one.vector.nbytes + 4 * len(one.segment.text)
        for one in outcome
    )
    return _ENTRY_BYTES + sum(parts)


def _own(embedding: Embedding) -> Embedding:
    """The same with vectors of its own: those of a batch are rows of one array, which all of them
    would keep alive."""
    outcome = embedding.outcome
    assert not isinstance(outcome, ServiceError)
    own: np.ndarray | list[SegmentVector]
    if isinstance(outcome, np.ndarray):
        own = outcome.copy()
    else:
        own = [SegmentVector(one.segment, one.vector.copy()) for one in outcome]
    return Embedding(own, embedding.tokens, embedding.original_tokens, embedding.truncated)
