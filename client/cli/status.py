"""`searchmesh status`."""

from dataclasses import dataclass
from typing import Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from searchmesh.cli.collections import collections_table
from searchmesh.cli.models import models_table
from searchmesh.cli.output import table
from searchmesh.cli.session import session_of
from searchmesh.client import Client
from searchmesh.connection import Connection, Service
from searchmesh.errors import ServiceError, Unreachable
from searchmesh.resources import Collection, Model
from searchmesh.results import Health

_NAMES = {
    Service.ENCODER: ("", "searchmesh.encoder.v1.EncoderService"),
    Service.SEARCH: (
        "",
        "searchmesh.search.v1.CollectionService",
        "searchmesh.search.v1.DocumentService",
        "searchmesh.search.v1.SearchService",
    ),
}
_EXIT_NOT_SERVING = 1
_EXIT_UNREACHABLE = 3
_UNREACHABLE = "UNREACHABLE"


@dataclass(frozen=True)
class _Check:
    """What a service says of one name."""

    service: Service
    address: str
    name: str
    health: str
    reason: str = ""


def status(context: typer.Context) -> None:
    """Show the health of both services, the models, and the collections with their counts.

    Exit code: 0 everything serves, 1 something does not, 3 a service cannot be reached.
    """
    session = session_of(context)
    with Client(session.connection) as mesh:
        checks = [
            _check(mesh, session.connection, service, name)
            for service, names in _NAMES.items()
            for name in names
        ]
        reachable = {check.service for check in checks if check.health != _UNREACHABLE}
        models = list(mesh.list_models()) if Service.ENCODER in reachable else []
        collections = _collections(mesh) if Service.SEARCH in reachable else []
    answer: dict[str, Any] = {"health": checks, "models": models, "collections": collections}
    session.output.answer(answer, lambda: _render(checks, models, collections))
    if len(reachable) < len(Service):
        raise typer.Exit(_EXIT_UNREACHABLE)
    if any(check.health != Health.SERVING for check in checks):
        raise typer.Exit(_EXIT_NOT_SERVING)


def _check(mesh: Client, connection: Connection, service: Service, name: str) -> _Check:
    address = connection.address(service)
    try:
        return _Check(service, address, name, mesh.health(service, name))
    except Unreachable as error:
        return _Check(service, address, name, _UNREACHABLE, str(error))
    except ServiceError as error:
        return _Check(service, address, name, Health.UNKNOWN, str(error))


def _collections(mesh: Client) -> list[Collection]:
    """None where the service answers, but its journal or its engine does not."""
    try:
        return list(mesh.list_collections())
    except ServiceError:
        return []


def _render(
    checks: list[_Check], models: list[Model], collections: list[Collection]
) -> RenderableType:
    styles = {Health.SERVING: "green", _UNREACHABLE: "red"}
    health = table(
        ("service", "address", "health", "of", ""),
        [
            (
                check.service,
                check.address,
                Text(check.health.lower().replace("_", " "), styles.get(check.health, "yellow")),
                check.name or "the process",
                check.reason,
            )
            for check in checks
        ],
    )
    return Group(health, Text(), models_table(models), Text(), collections_table(collections))
