"""The commands put together, the global options, and the exit code."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from searchmesh.cli import (
    answering,
    calibrating,
    classifying,
    collections,
    documents,
    encoding,
    exporting,
    facets,
    importing,
    models,
    operations,
    recommending,
    searching,
    status,
    up,
)
from searchmesh.cli.global_options import hoisted
from searchmesh.cli.hints import hint_of
from searchmesh.cli.output import Output
from searchmesh.cli.session import Session
from searchmesh.connection import DEFAULT_ENCODER, DEFAULT_SEARCH, Connection
from searchmesh.errors import InvalidRequest, ServiceError, Unreachable
from searchmesh.local import LocalMeshError

EXIT_FAILED = 1
EXIT_UNREACHABLE = 3

_EPILOG = """\
The global options may stand anywhere on the line.

Exit codes: 0 done; 1 the call failed, or some documents did; 2 the command line is wrong; \
3 a service cannot be reached; 130 interrupted.
"""

app = typer.Typer(
    name="searchmesh",
    help="Search by meaning: start the mesh, bring documents in, and find them.",
    epilog=_EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("up")(up.up)
app.command("status")(status.status)
app.command("models")(models.models)
app.add_typer(collections.app, name="collections")
app.add_typer(documents.app, name="documents")
app.command("import")(importing.import_)
app.command("export")(exporting.export)
app.add_typer(operations.app, name="operations")
app.command("search")(searching.search)
app.command("recommend")(recommending.recommend)
app.command("classify")(classifying.classify)
app.command("answer")(answering.answer)
app.command("calibrate")(calibrating.calibrate)
app.command("facets")(facets.facets)
app.command("encode")(encoding.encode)


@app.callback()
def global_options(
    context: typer.Context,
    encoder: Annotated[
        str, typer.Option(envvar="SEARCHMESH_ENCODER", help="Address of the encoder.")
    ] = DEFAULT_ENCODER,
    search: Annotated[
        str, typer.Option(envvar="SEARCHMESH_SEARCH", help="Address of the search service.")
    ] = DEFAULT_SEARCH,
    tls: Annotated[
        bool, typer.Option("--tls", help="Talk TLS; --ca, --certificate and a token imply it.")
    ] = False,
    ca: Annotated[
        Path | None,
        typer.Option(
            envvar="SEARCHMESH_CA",
            exists=True,
            dir_okay=False,
            help="PEM file with the authorities to trust, instead of the system's.",
        ),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(
            envvar="SEARCHMESH_CERTIFICATE",
            exists=True,
            dir_okay=False,
            help="PEM file with your certificate, where the services ask for one.",
        ),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            envvar="SEARCHMESH_KEY",
            exists=True,
            dir_okay=False,
            help="PEM file with the private key of --certificate.",
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="SEARCHMESH_TOKEN",
            show_envvar=True,
            help="Bearer token. Others on this machine can see it here: prefer the variable or "
            "--token-file.",
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="File that holds the bearer token."),
    ] = None,
    caller: Annotated[
        str, typer.Option(help="Name of the calling system, for fair sharing and logs.")
    ] = "searchmesh-cli",
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0.001, help="Seconds that a call may take. Default: 10, more for long work."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON value on standard output, no more.")
    ] = False,
) -> None:
    """Search by meaning: start the mesh, bring documents in, and find them."""
    if token and token_file:
        raise typer.BadParameter("give --token or --token-file, not both")
    try:
        connection = Connection(
            encoder=encoder,
            search=search,
            tls=tls,
            ca=ca,
            certificate=certificate,
            key=key,
            token=_token_of(token_file) if token_file else token,
            caller=caller,
            timeout=timeout,
        )
    except InvalidRequest as error:
        raise typer.BadParameter(str(error)) from error
    context.obj = Session(connection, Output(as_json=as_json))


def _token_of(file: Path) -> str:
    try:
        token = file.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"--token-file {file} is not a text file in UTF-8") from error
    if not token:
        raise typer.BadParameter(f"--token-file {file} holds no token")
    return token


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    given = hoisted(sys.argv[1:] if arguments is None else arguments)
    # errors may come before the options are parsed
    output = Output(as_json="--json" in given)
    try:
        app(given, prog_name="searchmesh")
    except Unreachable as error:
        output.error(error, hint_of(error))
        sys.exit(EXIT_UNREACHABLE)
    except (ServiceError, LocalMeshError, OSError) as error:
        output.error(error, hint_of(error))
        sys.exit(EXIT_FAILED)
    sys.exit(0)
