from __future__ import annotations

from searchmesh_common.errors import (
    FailedPrecondition,
    FieldViolation,
    InvalidRequest,
    NotFound,
    Unavailable,
    within,
)


def test_the_error_of_a_part_says_which_part() -> None:
    violations = FieldViolation("limit", "too many"), FieldViolation("", "is empty")
    invalid = within(InvalidRequest(*violations, omitted=3), "requests[2]")
    assert isinstance(invalid, InvalidRequest)
    assert [one.field for one in invalid.violations] == ["requests[2].limit", "requests[2]"]
    assert invalid.omitted == 3
    missing = within(NotFound("document", "x", "no document 'x'"), "liked[1]")
    assert isinstance(missing, NotFound)
    assert (missing.kind, missing.name) == ("document", "x")
    assert missing.message == "liked[1]: no document 'x'"
    failed = within(FailedPrecondition("NO_MODEL", "has none", {"collection": "c"}), "liked[0]")
    assert isinstance(failed, FailedPrecondition)
    assert (failed.reason, failed.metadata) == ("NO_MODEL", {"collection": "c"})
    assert failed.message == "liked[0]: has none"
    away = Unavailable("the engine is away")
    assert within(away, "liked[0]") is away
