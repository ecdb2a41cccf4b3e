"""The contract is looked up by rpc, and takes in what libraries bring."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpc_channelz.v1 import channelz_pb2

from searchmesh_common.contract import Contract

from .echo import SERVICE, compile_contract, message_class

if TYPE_CHECKING:
    from pathlib import Path


def test_finds_the_request_of_an_rpc(contract: Contract) -> None:
    request = contract.request_class(f"/{SERVICE}/Echo")
    assert request is not None
    assert request.DESCRIPTOR.full_name == "searchmesh.test.v1.EchoRequest"
    assert contract.request_class(f"/{SERVICE}/Shout") is None


def test_takes_in_a_library_and_what_it_imports(tmp_path: Path) -> None:
    contract = compile_contract(tmp_path)
    contract.add(channelz_pb2.DESCRIPTOR)
    contract.add(channelz_pb2.DESCRIPTOR)
    assert "google/protobuf/wrappers.proto" in contract.files
    assert contract.request_class("/grpc.channelz.v1.Channelz/GetServers") is not None


def test_well_known_types_behave_as_such(contract: Contract) -> None:
    message = message_class(contract, "EchoRequest")()
    message.rules.attributes.update({"year": 1999, "genres": ["drama"]})
    assert message.rules.attributes["genres"][0] == "drama"


def test_the_projects_own_contract_loads() -> None:
    contract = Contract.load()
    request = contract.request_class("/searchmesh.encoder.v1.EncoderService/Encode")
    assert request is not None
    assert request.DESCRIPTOR.fields_by_name["contents"].GetOptions().ByteSize() > 0
