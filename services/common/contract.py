"""The whole contract with its rules and comments, in a descriptor pool of its own.

The stubs that callers import carry neither rules nor comments, because a caller's process may hold
another `buf/validate`. A server parses requests with the classes of this pool instead, which cost
the same, and validates those.

A request parsed here reads like the stub's message, but its class is another one: read its fields,
and do not pass it, or a message inside it, to `CopyFrom`, `extend` or a constructor of a stub.
Where a whole message has to cross over, `Stub.FromString(message.SerializeToString())` does it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.message import Message


class _FileDescriptor(Protocol):
    """What generated modules call `DESCRIPTOR`, whichever implementation is behind it."""

    @property
    def name(self) -> str: ...

    @property
    def dependencies(self) -> Sequence[Any]: ...

    def CopyToProto(self, proto: Any, /) -> None: ...


CONTRACT_FILE = Path(__file__).with_name("contract.binpb")
"""A FileDescriptorSet with imports, source info and rules; the build writes it from protos/."""


class Contract:
    """Every service and message of a FileDescriptorSet, looked up by full name."""

    def __init__(self, files: descriptor_pb2.FileDescriptorSet) -> None:
        """files: with all imports, each file after those it imports."""
        self.pool = descriptor_pool.DescriptorPool()
        self._files: dict[str, descriptor_pb2.FileDescriptorProto] = {}
        self._requests: dict[str, type[Message]] = {}
        for file in files.file:
            self._add(file)

    @classmethod
    def load(cls, path: Path = CONTRACT_FILE) -> Contract:
        """Read the image that the build wrote."""
        return cls(descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes()))

    @property
    def files(self) -> Mapping[str, descriptor_pb2.FileDescriptorProto]:
        """Every file by name, with comments and rules, for reflection."""
        return self._files

    def add(self, file: _FileDescriptor) -> None:
        """Take in a file that a library brings, such as the health service, and its imports."""
        for imported in file.dependencies:
            self.add(imported)
        if file.name not in self._files:
            proto = descriptor_pb2.FileDescriptorProto()
            file.CopyToProto(proto)
            self._add(proto)

    def request_class(self, method: str) -> type[Message] | None:
        """The class of a request, by `/package.Service/Method`; None where there is no such rpc."""
        return self._requests.get(method)

    def _add(self, file: descriptor_pb2.FileDescriptorProto) -> None:
        self.pool.Add(file)
        self._files[file.name] = file
        for service in file.service:
            full_name = f"{file.package}.{service.name}"
            for method in service.method:
                descriptor = self.pool.FindMessageTypeByName(method.input_type.removeprefix("."))
                self._requests[f"/{full_name}/{method.name}"] = message_factory.GetMessageClass(
                    descriptor
                )
