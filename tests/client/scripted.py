"""A server that answers as it is told, for faults that a real one cannot be made to produce."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.message import Message

from searchmesh.connection import Connection
from searchmesh_common import status
from searchmesh_common.call_context import REQUEST_ID_KEY
from searchmesh_common.errors import ServiceError

Plain = Message | ServiceError | grpc.StatusCode
"""A response; our error with its details; or a bare status, as gRPC itself or a proxy sets it."""

Answer = Plain | Callable[[bytes], Plain]
"""An answer, or what makes one of the request's bytes: calls made side by side arrive in any order.
"""


class Scripted(grpc.GenericRpcHandler):
    """Answers each rpc with what was scripted for it, the last answer again and again."""

    def __init__(self) -> None:
        self.address = ""
        self.calls: dict[str, list[dict[str, Any]]] = defaultdict(list)
        """Metadata of the calls that came in, by method name."""
        self.called = threading.Event()
        """Set by the first call."""
        self.remaining_seconds: list[float] = []
        """Time that each call had left when it came in."""
        self._answers: dict[str, deque[Answer]] = {}

    def answer(self, method: str, *answers: Answer) -> None:
        """method: for example `Search`."""
        self._answers[method] = deque(answers)

    @property
    def connection(self) -> Connection:
        return Connection(encoder=self.address, search=self.address)

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        details: Any = handler_call_details
        method = details.method.rpartition("/")[2]
        if method not in self._answers:
            return None

        def handle(request: bytes, context: grpc.ServicerContext) -> bytes:
            self.called.set()
            self.calls[method].append(dict(context.invocation_metadata()))
            self.remaining_seconds.append(context.time_remaining())
            answers = self._answers[method]
            answer = answers.popleft() if len(answers) > 1 else answers[0]
            return _reply(answer(request) if callable(answer) else answer, context)

        return grpc.unary_unary_rpc_method_handler(handle)


def _reply(answer: Plain, context: grpc.ServicerContext) -> bytes:
    match answer:
        case ServiceError():
            proto = status.to_proto(answer)
            context.set_trailing_metadata(
                ((REQUEST_ID_KEY, "scripted"), *status.trailing_metadata(proto))
            )
            context.abort(status.code_of(answer), proto.message)
        case grpc.StatusCode():
            context.abort(answer, "")
    return answer.SerializeToString()


@contextmanager
def scripted_server(
    options: Sequence[tuple[str, Any]] = (), credentials: grpc.ServerCredentials | None = None
) -> Iterator[Scripted]:
    """A running server on a free port of the loopback interface; over TLS with credentials."""
    handler = Scripted()
    server = grpc.server(futures.ThreadPoolExecutor(4), options=list(options))
    server.add_generic_rpc_handlers((handler,))
    if credentials:
        handler.address = f"localhost:{server.add_secure_port('127.0.0.1:0', credentials)}"
    else:
        handler.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield handler
    finally:
        server.stop(None).wait()
