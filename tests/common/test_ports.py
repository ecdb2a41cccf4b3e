"""TLS, client certificates and bearer tokens, from the settings to a call."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from searchmesh_common.channels import Credentials, Target, aio_channel, channel
from searchmesh_common.errors import Unauthenticated
from searchmesh_common.ports import StartError, read_tokens, server_credentials
from searchmesh_common.server_settings import ServerSettings
from searchmesh_common.status import from_rpc_error

from .echo import EchoClient, build, message_class, quick_settings

if TYPE_CHECKING:
    from pathlib import Path

    from searchmesh_common.contract import Contract


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem, and server.pem and client.pem with their keys, signed by it."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command to make certificates")
    folder = tmp_path_factory.mktemp("pki")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *new_key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca")
    for name in ("server", "client"):
        openssl(
            "req", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}"
        )
        (folder / "names").write_text(f"subjectAltName=DNS:{name}")
        signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names")
        openssl("x509", "-req", "-in", f"{name}.csr", *signing, "-out", f"{name}.pem")
    return folder


def tls_settings(pki: Path, **changes: Any) -> ServerSettings:
    files = {"tls_certificate": pki / "server.pem", "tls_key": pki / "server.key"}
    return quick_settings(**files, **changes)


async def say(contract: Contract, port: int, credentials: Credentials | None) -> str:
    async with aio_channel(Target(f"127.0.0.1:{port}", credentials)) as made:
        client = EchoClient(contract, made)
        text: str = (await client.echo(client.request(text="a"), timeout=5)).text
    return text


async def test_tls_from_both_kinds_of_channel(contract: Contract, pki: Path) -> None:
    credentials = Credentials(ca=pki / "ca.pem", server_name="server")
    server, _ = build(contract, tls_settings(pki))
    async with server:
        assert await say(contract, server.ports.grpc, credentials) == "a"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await say(contract, server.ports.grpc, None)
        assert caught.value.code() in (
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.DEADLINE_EXCEEDED,
        )
        # probes speak no TLS
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.ports.health}") as plain:
            stub: Any = health_pb2_grpc.HealthStub(plain)
            assert (await stub.Check(health_pb2.HealthCheckRequest())).status == 1


async def test_client_certificates(contract: Contract, pki: Path) -> None:
    anonymous = Credentials(ca=pki / "ca.pem", server_name="server")
    known = replace(anonymous, certificate=pki / "client.pem", key=pki / "client.key")
    server, _ = build(contract, tls_settings(pki, tls_client_ca=pki / "ca.pem"))
    async with server:
        assert await say(contract, server.ports.grpc, known) == "a"
        with pytest.raises(grpc.aio.AioRpcError):
            await say(contract, server.ports.grpc, anonymous)


async def test_tokens(contract: Contract, pki: Path, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("one\n\n two \n")
    anonymous = Credentials(ca=pki / "ca.pem", server_name="server")
    server, servicer = build(contract, tls_settings(pki, tokens_file=tmp_path / "tokens"))
    async with server:
        port = server.ports.grpc
        for credentials in (anonymous, replace(anonymous, token="three")):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await say(contract, port, credentials)
            assert isinstance(from_rpc_error(caught.value), Unauthenticated)
        assert not servicer.entered.is_set()
        assert await say(contract, port, replace(anonymous, token="two")) == "a"
        # client-side health checks carry no token
        async with aio_channel(Target(f"127.0.0.1:{port}", anonymous)) as made:
            stub: Any = health_pb2_grpc.HealthStub(made)
            assert (await stub.Check(health_pb2.HealthCheckRequest())).status == 1


def test_files_that_cannot_be_read_stop_the_start(tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    with pytest.raises(StartError, match=r"cannot read .*missing.pem: No such file"):
        server_credentials(ServerSettings(tls_certificate=missing, tls_key=missing))
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(StartError, match="holds no token"):
        read_tokens(tmp_path / "empty")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(StartError, match="not a text file in UTF-8"):
        read_tokens(tmp_path / "binary")
    assert read_tokens(None) is None


def test_comments_are_no_tokens(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_bytes(b"\xef\xbb\xbf# of the nightly import\r\none\r\n  # another\r\ntw#o\r\n")
    assert read_tokens(file) == frozenset({"one", "tw#o"})
    file.write_text("# none yet\n")
    with pytest.raises(StartError, match="holds no token"):
        read_tokens(file)


@pytest.mark.parametrize("token", ["clé", "a\x0bb", "a\u2028b", "a\x7fb"])
def test_a_token_that_no_call_can_carry_stops_the_start(tmp_path: Path, token: str) -> None:
    (tmp_path / "tokens").write_text(f"one\n{token}\n", encoding="utf-8")
    with pytest.raises(StartError, match="the token in line 2 is not printable ASCII"):
        read_tokens(tmp_path / "tokens")


@pytest.mark.parametrize(
    ("certificate", "key"),
    [("server.pem", "client.key"), ("server.key", "server.pem"), ("names", "server.key")],
)
def test_what_is_no_certificate_with_its_key_stops_the_start(
    pki: Path, certificate: str, key: str
) -> None:
    settings = ServerSettings(tls_certificate=pki / certificate, tls_key=pki / key)
    with pytest.raises(StartError, match=r"tls_certificate=.* and tls_key=.* are not a PEM"):
        server_credentials(settings)


def test_what_is_no_authority_stops_the_start(pki: Path) -> None:
    with pytest.raises(StartError, match=r"tls_client_ca=.*ca.key holds no authority"):
        server_credentials(tls_settings(pki, tls_client_ca=pki / "ca.key"))


async def test_the_blocking_channel(contract: Contract, pki: Path) -> None:
    server, _ = build(contract, tls_settings(pki))

    def call() -> str:
        target = Target(
            f"127.0.0.1:{server.ports.grpc}",
            Credentials(ca=pki / "ca.pem", server_name="server"),
        )
        request = message_class(contract, "EchoRequest")
        response = message_class(contract, "EchoResponse")
        with channel(target) as made:
            echo: Any = made.unary_unary(
                "/searchmesh.test.v1.EchoService/Echo",
                request_serializer=request.SerializeToString,
                response_deserializer=response.FromString,
            )
            text: str = echo(request(text="a"), timeout=5).text
        return text

    async with server:
        assert await asyncio.to_thread(call) == "a"
