"""`searchmesh up`."""

import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import RenderableType
from rich.status import Status
from rich.text import Text

from searchmesh.cli.output import Output
from searchmesh.cli.session import session_of
from searchmesh.connection import Service
from searchmesh.local import LocalMesh, LocalMeshError, State

_CHECK_SECONDS = 0.5
_EXIT_ENDED = 1
_RUNNING = "was running already: used as it is, with its own home and settings"


def up(
    context: typer.Context,
    home: Annotated[
        Path,
        typer.Option(
            envvar="SEARCHMESH_HOME",
            file_okay=False,
            help="Folder for all state: models, collections, logs.",
        ),
    ] = Path(".searchmesh"),
    wait: Annotated[
        float,
        typer.Option(min=1, metavar="SECONDS", help="Longest wait until both services serve."),
    ] = 600.0,
) -> None:
    """Start both services on this machine and keep them running until Ctrl-C.

    They listen at --encoder and --search. Their settings are environment variables, ENCODER_… and
    SEARCH_…, listed by `searchmesh-encoder --help` and `searchmesh-search --help`. The first start
    builds the text model. Where they run already, it says so and uses them as they are; a home that
    another process has is left alone.

    Exit code: 0 after Ctrl-C or SIGTERM, 1 where a service cannot start or ends by itself.
    """
    session = session_of(context)
    # SIGTERM stops as Ctrl-C does
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with LocalMesh(home, session.connection) as mesh:
        mesh.start()
        wait_with_spinner(mesh, session.output, wait)
        session.output.answer(_summary(mesh), lambda: _render(mesh))
        if mesh.started:
            _stay(mesh, session.output)


def wait_with_spinner(mesh: LocalMesh, output: Output, timeout: float) -> None:
    """Wait until both services serve and show what they are at meanwhile."""
    with output.notes.status("starting") as spinner:
        mesh.wait_until_serving(timeout, _shower(spinner))


def _shower(spinner: Status) -> Callable[[Mapping[Service, State]], None]:
    started = time.monotonic()

    def show(states: Mapping[Service, State]) -> None:
        services = ", ".join(f"{service} {state}" for service, state in states.items())
        spinner.update(f"{services} ({time.monotonic() - started:.0f} s)")

    return show


def _stay(mesh: LocalMesh, output: Output) -> None:
    try:
        while True:
            mesh.check()
            time.sleep(_CHECK_SECONDS)
    except KeyboardInterrupt:
        output.note("stopping")
    except LocalMeshError as error:
        output.complain(error)
        raise typer.Exit(_EXIT_ENDED) from error


def _summary(mesh: LocalMesh) -> dict[str, object]:
    return {
        "encoder": mesh.connection.encoder,
        "search": mesh.connection.search,
        "started": [str(service) for service in mesh.started],
        # a service that ran already has a home of its own
        "home": str(mesh.home) if mesh.started else None,
    }


def _render(mesh: LocalMesh) -> RenderableType:
    lines = []
    for service in Service:
        child = mesh.started.get(service)
        how = f"process {child.pid}, log {child.log_file}" if child else _RUNNING
        lines.append(f"{service:8} {mesh.connection.address(service)}  ({how})")
    if mesh.started:
        lines.append("Ctrl-C stops " + ("both." if len(mesh.started) == len(Service) else "it."))
    return Text("\n".join(lines))
