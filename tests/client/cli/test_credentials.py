"""TLS, the authority to trust, and the token, from the command line to the server."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import grpc
import pytest

from searchmesh.encoder.v1 import encoder_service_pb2
from tests.client.cli.conftest import Ran
from tests.client.scripted import Scripted, scripted_server
from tests.mesh import free_addresses

if TYPE_CHECKING:
    from pathlib import Path

Run = Callable[..., Ran]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of localhost; its key is beside it."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command to make a certificate")
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-subj", "/CN=localhost"]
    curve = ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(file.with_suffix(".key")), "-out", str(file)]
    subprocess.run([*command, *curve, *files], check=True, capture_output=True)
    return file


@pytest.fixture
def mutual(certificate: Path) -> Iterator[Scripted]:
    """A server that asks for certificates of the same authority, its own, and has no models."""
    pair = (certificate.with_suffix(".key").read_bytes(), certificate.read_bytes())
    credentials = grpc.ssl_server_credentials(
        [pair], root_certificates=pair[1], require_client_auth=True
    )
    with scripted_server(credentials=credentials) as server:
        server.answer("ListModels", encoder_service_pb2.ListModelsResponse())
        yield server


@pytest.fixture
def secure(certificate: Path) -> Iterator[Scripted]:
    """A server that speaks TLS only and has no models."""
    pair = (certificate.with_suffix(".key").read_bytes(), certificate.read_bytes())
    with scripted_server(credentials=grpc.ssl_server_credentials([pair])) as server:
        server.answer("ListModels", encoder_service_pb2.ListModelsResponse())
        yield server


def test_the_token_of_a_file_travels_over_tls(
    run: Run, secure: Scripted, certificate: Path, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("secret\n")
    ran = run(
        *("models", "--json", "--encoder", secure.address),
        *("--ca", str(certificate), "--token-file", str(token)),
    )
    assert (ran.exit_code, ran.json) == (0, [])
    assert secure.calls["ListModels"][0]["authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    ("content", "fault"), [(b"\n", "holds no token"), (b"\xff", "not a text file")]
)
def test_a_file_without_a_token_is_exit_code_2(
    run: Run, tmp_path: Path, content: bytes, fault: str
) -> None:
    token = tmp_path / "t"
    token.write_bytes(content)
    ran = run("models", "--token-file", str(token))
    assert ran.exit_code == 2
    # the sentence may break anywhere within the frame, as the file's name is of any length
    assert fault in " ".join(ran.stderr.replace("│", " ").split())


def test_the_token_may_be_a_variable(
    run: Run, secure: Scripted, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEARCHMESH_TOKEN", "secret")
    monkeypatch.setenv("SEARCHMESH_CA", str(certificate))
    assert run("models", "--encoder", secure.address).exit_code == 0
    assert secure.calls["ListModels"][0]["authorization"] == "Bearer secret"


def test_an_authority_that_is_not_trusted_is_exit_code_3(run: Run, secure: Scripted) -> None:
    ran = run("models", "--tls", "--encoder", secure.address)
    assert ran.exit_code == 3
    assert not secure.calls


def test_a_token_never_travels_in_the_clear(run: Run, server: Scripted) -> None:
    ran = run("models", "--encoder", server.address, "--token", "secret")
    assert ran.exit_code == 3
    assert not server.calls


def test_a_certificate_of_the_callers_own(run: Run, mutual: Scripted, certificate: Path) -> None:
    trusting = ("models", "--json", "--encoder", mutual.address, "--ca", str(certificate))
    key = str(certificate.with_suffix(".key"))
    ran = run(*trusting, "--certificate", str(certificate), "--key", key)
    assert (ran.exit_code, ran.json) == (0, [])
    ran = run(*trusting)
    assert ran.exit_code == 3
    assert "--certificate FILE --key FILE" in ran.stderr
    ran = run(*trusting, "--certificate", str(certificate))
    assert ran.exit_code == 2
    assert "certificate: is given together with its key" in " ".join(ran.stderr.split())


def test_a_file_that_is_no_certificate_is_named(
    run: Run, secure: Scripted, certificate: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    for given in (
        ("--ca", str(bad)),
        ("--ca", str(certificate), "--certificate", str(certificate), "--key", str(bad)),
    ):
        ran = run("models", "--encoder", secure.address, *given)
        assert ran.exit_code == 1
        assert str(bad) in ran.stderr
        assert "searchmesh up" not in ran.stderr


@pytest.mark.parametrize("token", ["a\nb", "clé"])
def test_a_token_that_cannot_be_sent_is_exit_code_2(run: Run, token: str) -> None:
    ran = run("models", "--token", token)
    assert ran.exit_code == 2
    assert "token: must be printable ASCII in one line" in " ".join(ran.stderr.split())
    assert token not in ran.stderr


def test_hints_are_of_the_connection_that_failed(
    run: Run, secure: Scripted, server: Scripted
) -> None:
    # of the two addresses of localhost only one is the server's
    address = secure.address.replace("localhost", "127.0.0.1")
    plain = run("models", "--encoder", address)
    untrusted = run("models", "--tls", "--encoder", address)
    tls = run("models", "--tls", "--encoder", server.address)
    nothing = run("models", "--encoder", free_addresses(1)[0])
    assert [ran.exit_code for ran in (plain, untrusted, tls, nothing)] == [3] * 4
    assert "Where the services talk TLS, give --tls or --ca FILE" in plain.stderr
    assert "name one with --ca FILE" in untrusted.stderr
    assert "What listens there talks no TLS" in tls.stderr
    assert "`searchmesh up` starts both services" in nothing.stderr
    assert not any("searchmesh up" in ran.stderr for ran in (plain, untrusted, tls))
