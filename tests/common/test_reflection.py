"""Reflection shows comments and rules, as `grpcurl describe` reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from .echo import SERVICE, quick_settings, running

if TYPE_CHECKING:
    from searchmesh_common.contract import Contract

    from .echo import Echo


async def ask(echo: Echo, **question: Any) -> Any:
    channel: Any = echo.client.channel
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(**question)
    (answer,) = [one async for one in stub.ServerReflectionInfo(iter([request]))]
    return answer


def files(answer: Any) -> dict[str, descriptor_pb2.FileDescriptorProto]:
    protos = [
        descriptor_pb2.FileDescriptorProto.FromString(raw)
        for raw in answer.file_descriptor_response.file_descriptor_proto
    ]
    return {proto.name: proto for proto in protos}


async def test_lists_the_services(echo: Echo) -> None:
    answer = await ask(echo, list_services="")
    assert [one.name for one in answer.list_services_response.service] == [
        "grpc.channelz.v1.Channelz",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        SERVICE,
    ]


async def test_shows_comments_and_rules(echo: Echo) -> None:
    found = files(await ask(echo, file_containing_symbol=SERVICE))
    file = found["echo.proto"]
    comments = [one.leading_comments for one in file.source_code_info.location]
    assert " Says a text back letter by letter.\n" in comments
    text = next(one for one in file.message_type if one.name == "EchoRequest").field[0]
    # the rules are unknown to this process's pool, and must be there all the same
    assert text.options.ByteSize() > 0
    assert {"buf/validate/validate.proto", "google/protobuf/struct.proto"} <= found.keys()


async def test_knows_the_libraries_services(echo: Echo) -> None:
    for service in ("grpc.health.v1.Health", "grpc.channelz.v1.Channelz"):
        assert files(await ask(echo, file_containing_symbol=service))


async def test_finds_rules_as_extensions(echo: Echo) -> None:
    options = "google.protobuf.FieldOptions"
    answer = await ask(echo, all_extension_numbers_of_type=options)
    assert 1159 in answer.all_extension_numbers_response.extension_number
    extension = {"containing_type": options, "extension_number": 1159}
    found = files(await ask(echo, file_containing_extension=extension))
    assert "buf/validate/validate.proto" in found


async def test_says_not_found(echo: Echo) -> None:
    for question in ({"file_by_filename": "no.proto"}, {"file_containing_symbol": "no.Such"}):
        answer = await ask(echo, **question)
        assert answer.error_response.error_code == 5


async def test_can_be_switched_off(contract: Contract) -> None:
    async with running(contract, quick_settings(reflection=False, channelz=False)) as echo:
        assert list(echo.server._services) == [SERVICE, "grpc.health.v1.Health"]
