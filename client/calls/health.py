"""How the services are."""

from __future__ import annotations

from grpc_health.v1 import health_pb2

from searchmesh.connection import Service
from searchmesh.results import Health
from searchmesh.rpc import Call, Rpc

_CHECK = {
    service: Rpc(service, "/grpc.health.v1.Health/Check", health_pb2.HealthCheckResponse)
    for service in Service
}

_TIMEOUT = 3.0


def health(service: Service, name: str = "", *, timeout: float | None = None) -> Call[Health]:
    """Ask a service how it is.

    name: what to ask about: empty for the process, or a gRPC service's full name, for example
        `searchmesh.search.v1.SearchService`; the encoder also answers `….EncoderService/<model>`.
        Raises NotFound for one that it does not know.
    """
    request = health_pb2.HealthCheckRequest(service=name)
    return Call(_CHECK[service], request, _health_from, _TIMEOUT, timeout)


def _health_from(response: health_pb2.HealthCheckResponse) -> Health:
    name = health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)
    return Health(name)
