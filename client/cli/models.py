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
                _dimensions(model),
                model.space.metric.lower(),
                model.window,
                model.precision,
                model.state.lower(),
                "default" if model.is_default else model.state_message,
            )
            for model in found
        ],
    )


def _dimensions(model: Model) -> str:
    """For example `384`, or `768 (or 64, 128, 256)`."""
    shorter = ", ".join(map(str, model.dimensions))
    return f"{model.space.dimension} (or {shorter})" if shorter else str(model.space.dimension)
