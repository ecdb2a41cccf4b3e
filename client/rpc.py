"""A call as a value: which rpc, with what request, and how its answer reads.

`calls/` describes each method of the clients once, as a function that returns a `Call` or
`Pages`; `Client` and `AsyncClient` only differ in how they carry such a description out.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from google.protobuf.message import Message

from searchmesh.connection import Service

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.descriptor import FileDescriptor

Parameters = ParamSpec("Parameters")
Method = TypeVar("Method", bound=Callable[..., Any])
Result = TypeVar("Result")
Response = TypeVar("Response", bound=Message)


@dataclass(frozen=True, slots=True)
class Rpc(Generic[Response]):
    """One rpc of the contract."""

    service: Service
    path: str
    """`/package.Service/Method`."""
    response: type[Response]

    @classmethod
    def of(cls, file: FileDescriptor, method: str, response: type[Response]) -> Rpc[Response]:
        """method: `Service.Method` of the file, whose answer is a `response`."""
        name, _, rpc = method.partition(".")
        descriptor = file.services_by_name[name]
        assert descriptor.methods_by_name[rpc].output_type is response.DESCRIPTOR
        # searchmesh.encoder.v1 is the encoder's package
        service = Service(file.package.split(".")[1])
        return cls(service, f"/{descriptor.full_name}/{rpc}", response)


@dataclass(frozen=True, slots=True)
class Call(Generic[Result]):
    """One call, ready to be made."""

    rpc: Rpc[Any]
    request: Message
    read: Callable[[Any], Result]
    """The response's meaning to the caller."""
    default_timeout: float
    """Seconds, where neither the call nor the connection has its own."""
    timeout: float | None = None
    """Seconds that this call was given."""


@dataclass(frozen=True, slots=True)
class Page(Generic[Result]):
    """Some of a list, and where the rest is."""

    items: Sequence[Result]
    next_token: str


@dataclass(frozen=True, slots=True)
class Pages(Generic[Result]):
    """A list that comes in pages."""

    page: Callable[[str], Call[Page[Result]]]
    """The call for the page of a token; the first page's is empty."""


@dataclass(frozen=True, slots=True)
class Answers(Generic[Result]):
    """A stream of answers, which goes on where it was when it breaks."""

    rpc: Rpc[Any]
    request: Callable[[Result | None], Message]
    """What to open it with, after an item; None: from the start."""
    read: Callable[[Any], Sequence[Result]]
    """The items of a response."""
    timeout: float | None
    """Seconds for all of it; None: for ever."""


def described_by(describe: Callable[Parameters, Any], answer: str) -> Callable[[Method], Method]:
    """Give a client's method the name, documentation and signature of its description.

    answer: what the method returns, with `{}` for what the call or the pages hold.
    """

    def decorate(method: Method) -> Method:
        described = inspect.signature(describe)
        held = str(described.return_annotation).partition("[")[2].removesuffix("]")
        own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        functools.update_wrapper(method, describe)
        method.__dict__["__signature__"] = described.replace(
            parameters=[own, *described.parameters.values()],
            return_annotation=answer.format(held),
        )
        return method

    return decorate
