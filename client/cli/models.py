"""`searchmesh models`."""

import typer
from rich.console import RenderableType

from searchmesh.cli.output import table
from searchmesh.cli.session import session_of
from searchmesh.client import Client
from searchmesh.resources import Model


def models(context: typer.Context) -> None:
    """List the encoder's models and whether they encode."""
    session = session_of(context)
    with Client(session.connection) as mesh:
        found = list(mesh.list_models())
    session.output.answer(found, lambda: models_table(found))


def models_table(found: list[Model]) -> RenderableType:
    columns = ("model", "reads", ">dimension", "metric", ">window", "precision", "state", "")
    return table(
        columns,
        [
            (
                model.name,
                model.modality.lower(),
                model.space.dimension,
                model.space.metric.lower(),
                model.window,
                model.precision,
                model.state.lower(),
                "default" if model.is_default else model.state_message,
            )
            for model in found
        ],
    )
