"""What operators rely on, asked of both services as they run: ids, metrics, channelz, health."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from searchmesh import Document, Service, request_id
from searchmesh.errors import DeadlineExceeded, Unavailable
from searchmesh.results import Health
from tests.mesh import HEALTH_NAMES, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.mesh import Mesh

MODEL = "all-minilm-l6-v2"


@pytest.fixture(scope="module")
def notes(mesh: Mesh) -> Iterator[str]:
    mesh.client.create_collection("operated", model=MODEL)
    mesh.client.upsert("operated", [Document("a", "A text.")])
    yield "operated"
    mesh.client.delete_collection("operated")


def log_lines(mesh: Mesh, service: Service) -> list[dict[str, Any]]:
    lines = (mesh.home / "logs" / f"{service}.log").read_text().splitlines()
    return [json.loads(line) for line in lines]


def bound_ports(mesh: Mesh, service: Service) -> dict[str, Any]:
    (line,) = [one for one in log_lines(mesh, service) if one["message"] == "listening"]
    return line


def test_a_request_id_finds_a_call_in_both_logs(mesh: Mesh, notes: str) -> None:
    with request_id("find-me-again"):
        mesh.client.search(notes, "a query")

    def methods(service: Service) -> list[str]:
        return [
            one["method"]
            for one in log_lines(mesh, service)
            if one.get("request_id") == "find-me-again" and one["message"] == "call"
        ]

    # lines are written many at a time, so the encoder's may come after the search's
    wait_for(lambda: all(methods(service) for service in Service), "both log lines")
    assert methods(Service.SEARCH) == ["/searchmesh.search.v1.SearchService/Search"]
    assert methods(Service.ENCODER) == ["/searchmesh.encoder.v1.EncoderService/Encode"]


@pytest.mark.parametrize("service", list(Service))
def test_metrics_tell_of_calls_and_of_the_service(mesh: Mesh, notes: str, service: Service) -> None:
    mesh.client.search(notes, "a query")
    port = bound_ports(mesh, service)["metrics"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    calls = {
        Service.ENCODER: 'grpc_method="Encode",grpc_service="searchmesh.encoder.v1.EncoderService"',
        Service.SEARCH: 'grpc_method="Search",grpc_service="searchmesh.search.v1.SearchService"',
    }[service]
    (line,) = [
        one
        for one in text.splitlines()
        if one.startswith("grpc_server_handled_total") and calls in one and 'code="OK"' in one
    ]
    assert float(line.rpartition(" ")[2]) >= 1
    own = {
        Service.ENCODER: 'encoder_compute_seconds_count{lane="query",model="all-minilm-l6-v2"}',
        Service.SEARCH: 'search_stage_seconds_count{stage="engine"}',
    }[service]
    assert own in text


@pytest.mark.parametrize("service", list(Service))
def test_channelz_answers(mesh: Mesh, service: Service) -> None:
    with grpc.insecure_channel(mesh.connection.address(service)) as channel:
        stub = channelz_pb2_grpc.ChannelzStub(channel)
        servers = stub.GetServers(channelz_pb2.GetServersRequest(), timeout=10).server
    assert any(one.data.calls_started > 0 for one in servers)


@pytest.mark.parametrize("service", list(Service))
def test_the_probes_port_answers_as_the_services_own(mesh: Mesh, service: Service) -> None:
    port = bound_ports(mesh, service)["health"]
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for name in ("", HEALTH_NAMES[service]):
            response = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)
            assert response.status == health_pb2.HealthCheckResponse.SERVING
    assert mesh.health(service) is Health.SERVING


@pytest.mark.slow
def test_a_deadline_holds_also_where_the_encoder_hangs(own_mesh: Mesh) -> None:
    own_mesh.start()
    own_mesh.client.create_collection("notes", model=MODEL)
    encoder = own_mesh.children[Service.ENCODER].pid
    os.kill(encoder, signal.SIGSTOP)
    try:
        started = time.monotonic()
        with pytest.raises((DeadlineExceeded, Unavailable)):
            own_mesh.client.search("notes", "a query", timeout=1)
        assert time.monotonic() - started < 2
        assert own_mesh.health(Service.SEARCH) is Health.SERVING
    finally:
        os.kill(encoder, signal.SIGCONT)
    assert own_mesh.client.search("notes", "a query").hits == ()
