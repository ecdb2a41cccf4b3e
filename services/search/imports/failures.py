"""Documents that an import sets aside, as the journal keeps them."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

from searchmesh_common import status
from searchmesh_common.errors import InvalidRequest, ServiceError
from searchmesh_search.document_checks import MAX_ID_BYTES
from searchmesh_search.journal.import_rows import Failure

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def failure(position: int, document_id: str, error: ServiceError, path: str) -> Failure:
    """path: what the faults of the document begin with, which its reader has no use for."""
    return Failure(position, _shown(document_id), status_bytes(_alone(error, path)))


def status_bytes(error: ServiceError) -> bytes:
    """An error as google.rpc.Status."""
    return status.to_proto(error).SerializeToString()


def _alone(error: ServiceError, path: str) -> ServiceError:
    """The same error with fields named from the document on."""
    if not isinstance(error, InvalidRequest):
        return error
    own = (replace(one, field=one.field.removeprefix(f"{path}.")) for one in error.violations)
    return InvalidRequest(*own, omitted=error.omitted)


def _shown(document_id: str) -> str:
    """An id that may be anything, as every database takes it."""
    start = document_id[:MAX_ID_BYTES].encode()[:MAX_ID_BYTES].decode(errors="ignore")
    plain = "".join(REPLACEMENT if unicodedata.category(one) == "Cc" else one for one in start)
    return plain if start == document_id else f"{plain}…"
