"""`searchmesh status`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from searchmesh.cli.collections import collections_table
from searchmesh.cli.hints import hint_of
from searchmesh.cli.models import models_table
from searchmesh.cli.output import table
from searchmesh.cli.session import session_of
from searchmesh.client import Client
from searchmesh.connection import Connection, Service
from searchmesh.errors import ServiceError, Unreachable
from searchmesh.resources import Collection, Model
from searchmesh.results import Health

_Item = TypeVar("_Item")

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

    Exit code: 0 everything serves, 1 something does not or is refused, 3 a service cannot be
    reached.
    """
    session = session_of(context)
    with Client(session.connection) as mesh:
        checks = [
            check for service in Service for check in _checks(mesh, session.connection, service)
        ]
        away = {check.service for check in checks if check.health == _UNREACHABLE}
        errors: list[ServiceError] = []
        models = [] if Service.ENCODER in away else _listed(mesh.list_models, errors)
        collections = [] if Service.SEARCH in away else _listed(mesh.list_collections, errors)
    answer: dict[str, Any] = {
        "health": checks,
        "models": models,
        "collections": collections,
        "errors": errors,
    }
    session.output.answer(answer, lambda: _render(checks, models, collections))
    # both services may refuse for the same reason
    for error in {str(error): error for error in errors}.values():
        session.output.complain(error, hint_of(error))
    if away:
        raise typer.Exit(_EXIT_UNREACHABLE)
    if errors or any(check.health != Health.SERVING for check in checks):
        raise typer.Exit(_EXIT_NOT_SERVING)


def _checks(mesh: Client, connection: Connection, service: Service) -> list[_Check]:
    """What a service says of each of its names; one check where it cannot be reached."""
    checks = []
    for name in _NAMES[service]:
        check = _check(mesh, connection.address(service), service, name)
        checks.append(check)
        if check.health == _UNREACHABLE:
            break
    return checks


def _check(mesh: Client, address: str, service: Service, name: str) -> _Check:
    try:
        return _Check(service, address, name, mesh.health(service, name))
    except Unreachable as error:
        return _Check(service, address, name, _UNREACHABLE, error.message.partition(": ")[2])
    except ServiceError as error:
        return _Check(service, address, name, Health.UNKNOWN, error.message)


def _listed(items: Callable[[], Iterator[_Item]], errors: list[ServiceError]) -> list[_Item]:
    """Empty where the service answers but refuses the list; why is added to the errors."""
    try:
        return list(items())
    except ServiceError as error:
        errors.append(error)
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
    shown: list[RenderableType] = [health]
    if models:
        shown += [Text(), models_table(models)]
    if collections:
        shown += [Text(), collections_table(collections)]
    return Group(*shown)
