"""Server reflection that shows the contract as it was written: comments and rules included.

The library's servicer reads descriptors, which hold neither; this hands it the files themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grpc_channelz.v1 import channelz_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf import descriptor_pb2
    from google.protobuf.descriptor import Descriptor, FieldDescriptor

    from searchmesh_common.contract import Contract
    from searchmesh_common.handlers import CallHandlers

SERVICE: str = reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"].full_name
_LIBRARY_FILES = (
    health_pb2.DESCRIPTOR,
    channelz_pb2.DESCRIPTOR,
    reflection_pb2.DESCRIPTOR,
)


def add_reflection(server: CallHandlers, contract: Contract, services: Iterable[str]) -> None:
    """Serve reflection. services: full names of all that the server offers, beside reflection."""
    for file in _LIBRARY_FILES:
        contract.add(file)
    servicer: Any = reflection.aio.ReflectionServicer([*services, SERVICE], pool=_Pool(contract))
    add: Any = reflection_pb2_grpc.add_ServerReflectionServicer_to_server
    add(servicer, server)


class _File:
    """What the library asks of a file descriptor."""

    def __init__(self, contract: Contract, name: str) -> None:
        self._contract = contract
        self.name = name
        self._proto = contract.files[name]

    @property
    def dependencies(self) -> list[_File]:
        return [_File(self._contract, name) for name in self._proto.dependency]

    def CopyToProto(self, proto: descriptor_pb2.FileDescriptorProto) -> None:
        proto.CopyFrom(self._proto)


class _Pool:
    """What the library asks of a descriptor pool; KeyError means that there is no such thing."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._pool = contract.pool

    def FindFileByName(self, name: str) -> _File:
        return _File(self._contract, name)

    def FindFileContainingSymbol(self, symbol: str) -> _File:
        return _File(self._contract, self._pool.FindFileContainingSymbol(symbol).name)

    def FindMessageTypeByName(self, name: str) -> Descriptor:
        return self._pool.FindMessageTypeByName(name)

    def FindExtensionByNumber(self, message: Descriptor, number: int) -> FieldDescriptor:
        return self._pool.FindExtensionByNumber(message, number)

    def FindAllExtensions(self, message: Descriptor) -> list[FieldDescriptor]:
        return self._pool.FindAllExtensions(message)
