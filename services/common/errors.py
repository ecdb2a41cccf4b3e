"""The error family of the mesh. Nothing here knows gRPC; `status.py` maps each class to a status.

ServiceError
├── InvalidRequest       the caller must change the request
├── NotFound             a named resource does not exist
├── AlreadyExists        a named resource exists and differs from what was asked for
├── FailedPrecondition   the request is fine, the state of the resource is not
├── Aborted              lost a race; the caller may try again from the start
├── Overloaded           no room now; retry after the time named
├── Unavailable          a part that is needed is away; retry after the time named
├── DeadlineExceeded     the caller's time ran out
├── Unsupported          the contract has it, this version does not
├── DataLoss             stored data cannot be read back
├── Unauthenticated      the caller did not say, or prove, who it is
└── Internal             a fault of the server itself, as its callers see it
"""

# ruff: noqa: N818 - the family is named after what happened

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One fault of a request."""

    field: str
    """Path of the field as the proto spells it, for example `contents[3].text`.

    Empty where the request as a whole is at fault.
    """

    description: str
    """What to change, as a sentence without the field's name."""

    def __str__(self) -> str:
        return f"{self.field}: {self.description}" if self.field else self.description


class ServiceError(Exception):
    """An error that a caller is told about in its own words."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidRequest(ServiceError):
    """The request breaks the contract; the same request never succeeds."""

    def __init__(self, *violations: FieldViolation, omitted: int = 0) -> None:
        """omitted: how many violations there are beyond those named."""
        sentences = [str(one) for one in violations]
        if omitted:
            sentences.append(f"and {omitted} more")
        super().__init__("; ".join(sentences))
        self.violations: Sequence[FieldViolation] = violations
        self.omitted = omitted

    @classmethod
    def of(cls, field: str, description: str) -> InvalidRequest:
        """The common case of one violation."""
        return cls(FieldViolation(field, description))


class _ResourceError(ServiceError):
    def __init__(self, kind: str, name: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.name = name


class NotFound(_ResourceError):
    """A resource that the request names does not exist. `kind` is for example `collection`."""


class AlreadyExists(_ResourceError):
    """A resource of this name exists and is not the one that was asked for."""


class FailedPrecondition(ServiceError):
    """The request is well formed, but the state it meets refuses it.

    `reason` is a constant in UPPER_SNAKE_CASE that callers may branch on, `metadata` its
    particulars.
    """

    def __init__(
        self, reason: str, message: str, metadata: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.metadata: Mapping[str, str] = metadata or {}


class Aborted(ServiceError):
    """A concurrent change won; reading again and retrying may succeed."""


class _RetryableError(ServiceError):
    def __init__(self, message: str, retry_after_seconds: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Overloaded(_RetryableError):
    """There is no room for this request now."""


class Unavailable(_RetryableError):
    """Something that this request needs is away: the engine, the encoder, or a draining server."""


class DeadlineExceeded(ServiceError):
    """The caller's deadline passed, or cannot be met."""


class Unsupported(ServiceError):
    """Part of the contract that this version does not implement yet."""


class DataLoss(ServiceError):
    """Stored data is damaged or missing."""


class Unauthenticated(ServiceError):
    """The call carries no credentials, or none that are accepted."""


class Internal(ServiceError):
    """A server answered that it is at fault; raised by clients, the server's log has the reason."""


def within(error: ServiceError, path: str) -> ServiceError:
    """The error of one part of a request, in the words of the request as a whole.

    path: of the part. It goes before the fields of an InvalidRequest, and before the message of
    what else the caller can mend there; other errors are not the part's own.
    """
    match error:
        case InvalidRequest():
            return InvalidRequest(
                *(replace(one, field=_joined(path, one.field)) for one in error.violations),
                omitted=error.omitted,
            )
        case NotFound():
            return NotFound(error.kind, error.name, f"{path}: {error.message}")
        case FailedPrecondition():
            return FailedPrecondition(error.reason, f"{path}: {error.message}", error.metadata)
    return error


def _joined(path: str, field: str) -> str:
    return f"{path}.{field}" if field else path
