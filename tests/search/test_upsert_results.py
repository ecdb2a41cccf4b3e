from __future__ import annotations

from searchmesh_common import status
from searchmesh_common.errors import FieldViolation, Internal, InvalidRequest, ServiceError
from searchmesh_search.upsert_results import UpsertResult


def test_results_come_back_with_every_detail_of_their_errors() -> None:
    faulty = InvalidRequest(
        FieldViolation("documents[1].id", "holds \x00"), FieldViolation("x", "é")
    )
    errors: list[ServiceError | None] = [None, faulty, None, Internal("broken")]
    kept = UpsertResult.from_json(UpsertResult(errors, b"\x00\xff").to_json())
    assert kept.write_token == b"\x00\xff"
    assert [one and status.to_proto(one) for one in kept.errors] == [
        one and status.to_proto(one) for one in errors
    ]


def test_where_nothing_failed_little_is_kept() -> None:
    result = UpsertResult([None] * 1000, b"12345678")
    assert len(result.to_json()) < 40
    assert UpsertResult.from_json(result.to_json()) == result
