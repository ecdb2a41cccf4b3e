"""Metrics are served over HTTP from a thread of their own."""

from __future__ import annotations

import socket
import urllib.request

import pytest

from searchmesh_common.metrics import CallMetrics, MetricsServer, new_registry
from searchmesh_common.ports import StartError


def test_serves_what_the_registry_holds() -> None:
    registry = new_registry("echo")
    CallMetrics(registry).method("unary", "/a.Service/Do").started.inc()
    server = MetricsServer(registry, "127.0.0.1:0")
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics") as response:
            text = response.read().decode()
    finally:
        server.close()
    assert (
        'grpc_server_started_total{grpc_method="Do",grpc_service="a.Service",grpc_type="unary"} 1.0'
        in text
    )
    assert 'grpc_code="InvalidArgument"' in text
    assert 'le="0.0001"' in text
    assert "echo_build_info{" in text
    assert "process_resident_memory_bytes" in text
    assert "_created" not in text


def test_a_taken_port_is_a_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(
            StartError, match=rf"cannot serve metrics on {address}: Address already"
        ):
            MetricsServer(new_registry("echo"), address)
