"""The table between errors and statuses has no hole and fits into a trailer."""

from __future__ import annotations

import inspect

import grpc
import pytest
from google.rpc import status_pb2
from hypothesis import given
from hypothesis import strategies as st

from searchmesh_common import errors, status
from searchmesh_common.errors import FieldViolation, InvalidRequest, ServiceError

FAMILY = {
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, ServiceError)
    and cls is not ServiceError
    and not cls.__name__.startswith("_")
}

EXAMPLES: tuple[ServiceError, ...] = (
    InvalidRequest(FieldViolation("contents[3].text", "must not be empty")),
    errors.NotFound("model", "gpt", "there is no model gpt"),
    errors.AlreadyExists("collection", "films", "films exists with another model"),
    errors.FailedPrecondition("OTHER_VECTOR_SPACE", "384 given, 512 stored", {"dimension": "512"}),
    errors.Aborted("lost a race"),
    errors.Overloaded("no room", retry_after_seconds=0.25),
    errors.Unavailable("the encoder is away", retry_after_seconds=2.0),
    errors.DeadlineExceeded("too late"),
    errors.Unsupported("not implemented yet"),
    errors.Unauthenticated("who are you"),
    errors.DataLoss("damaged"),
    errors.Internal("internal error"),
)


def test_no_child_is_missing() -> None:
    assert set(status.CODES) == FAMILY
    assert {type(example) for example in EXAMPLES} == FAMILY


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_there_and_back(error: ServiceError) -> None:
    back = status.from_proto(status.to_proto(error))
    assert type(back) is type(error)
    assert (back.message, vars(back).keys()) == (error.message, vars(error).keys())
    for name, value in vars(error).items():
        assert getattr(back, name) == value


def test_a_subclass_takes_the_nearest_code() -> None:
    class EngineAwayError(errors.Unavailable):
        """A service's own refinement."""

    assert status.code_of(EngineAwayError("away")) is grpc.StatusCode.UNAVAILABLE
    assert status.code_of(ServiceError("?")) is grpc.StatusCode.INTERNAL


@pytest.mark.parametrize(
    ("code", "family"),
    [
        (grpc.StatusCode.UNKNOWN, errors.Internal),
        (grpc.StatusCode.CANCELLED, errors.Unavailable),
        (grpc.StatusCode.OUT_OF_RANGE, errors.InvalidRequest),
        (grpc.StatusCode.PERMISSION_DENIED, errors.Unauthenticated),
    ],
)
def test_codes_that_only_others_send(code: grpc.StatusCode, family: type[ServiceError]) -> None:
    bare = status_pb2.Status(code=code.value[0], message="said so")
    error = status.from_proto(bare)
    assert type(error) is family
    assert error.message == "said so"


def percent_encoded_bytes(text: str) -> int:
    """How long gRPC makes a message at most: `grpc-message` is percent encoded."""
    return 3 * len(text.encode())


@given(
    st.lists(st.builds(FieldViolation, st.text(max_size=400), st.text(max_size=900)), max_size=60),
    st.integers(0, 10_000),
)
def test_violations_fit_into_the_trailers(violations: list[FieldViolation], omitted: int) -> None:
    proto = status.to_proto(InvalidRequest(*violations, omitted=omitted))
    assert proto.ByteSize() <= 4096
    assert percent_encoded_bytes(proto.message) + proto.ByteSize() * 4 / 3 < 8000
    back = status.from_proto(proto)
    assert isinstance(back, InvalidRequest)
    if back.violations and back.violations[-1].description.startswith("and "):
        named = len(back.violations) - 1
        assert back.violations[-1].description == f"and {len(violations) + omitted - named} more"


@given(st.text(max_size=5000), st.dictionaries(st.text(max_size=50), st.text(max_size=2000)))
def test_other_details_fit_too(text: str, metadata: dict[str, str]) -> None:
    for error in (
        errors.NotFound("document", text, text),
        errors.FailedPrecondition("REASON", text, metadata),
        errors.Unavailable(text),
    ):
        proto = status.to_proto(error)
        assert proto.ByteSize() <= 4096
        assert len(proto.message.encode()) <= 512
