"""What became of an upsert, as it is answered and as the journal keeps it for a repeat."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.rpc import status_pb2

from searchmesh_common import status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from searchmesh_common.errors import ServiceError


@dataclass(frozen=True, slots=True)
class UpsertResult:
    """What became of a call's documents."""

    errors: Sequence[ServiceError | None]
    """For each document, in the order given; None for one that is stored."""
    write_token: bytes
    """The engine's, for `read_after`. Empty when nothing was stored."""

    def to_json(self) -> str:
        """As the journal keeps it: mostly short, because mostly nothing fails."""
        failures = {
            place: _text(status.to_proto(error).SerializeToString())
            for place, error in enumerate(self.errors)
            if error is not None
        }
        return json.dumps([len(self.errors), failures, _text(self.write_token)])

    @classmethod
    def from_json(cls, kept: str) -> UpsertResult:
        """The inverse of `to_json`."""
        count, failures, token = json.loads(kept)
        errors: list[ServiceError | None] = [None] * count
        for place, failure in failures.items():
            proto = status_pb2.Status.FromString(b64decode(failure))
            errors[int(place)] = status.from_proto(proto)
        return cls(errors, b64decode(token))


def _text(data: bytes) -> str:
    return b64encode(data).decode()
