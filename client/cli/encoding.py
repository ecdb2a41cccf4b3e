"""`searchmesh encode`."""

import sys
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from searchmesh.cli.output import table
from searchmesh.cli.session import session_of
from searchmesh.client import Client
from searchmesh.errors import FailedPrecondition, InvalidRequest
from searchmesh.resources import OnTooLong, Role, Segmentation
from searchmesh.results import Embedding, EncodeResult, TextSpan

_COMPONENTS_SHOWN = 4
_CHARACTERS_SHOWN = 80


def encode(
    context: typer.Context,
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="TEXT",
            help="What to encode. Default, and -: standard input.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str, typer.Option(help="The encoder's model; see `models`. Default: its default model.")
    ] = "",
    query: Annotated[
        bool, typer.Option("--query", help="Encode what is searched for, not what is found.")
    ] = False,
    segments: Annotated[
        bool, typer.Option("--segments", help="A vector for each passage, not one for all.")
    ] = False,
    reject_too_long: Annotated[
        bool,
        typer.Option(
            "--reject-too-long",
            help="Fail where the text is too long, instead of leaving its end out.",
        ),
    ] = False,
    dimensions: Annotated[
        int, typer.Option(min=0, max=32768, help="Leading components to keep; 0 for all.")
    ] = 0,
) -> None:
    """Turn a text into a vector, or into one for each of its passages.

    A text that starts with a dash goes after `--`.
    """
    session = session_of(context)
    content = _given(text)
    with Client(session.connection) as mesh:
        result = mesh.encode(
            model or _default_model(mesh),
            [content],
            role=Role.QUERY if query else Role.DOCUMENT,
            segmentation=Segmentation.SEGMENTS if segments else Segmentation.WHOLE,
            on_too_long=OnTooLong.REJECT if reject_too_long else OnTooLong.TRUNCATE,
            dimensions=dimensions,
        )
    (embedding,) = result.embeddings
    if embedding.error:
        raise embedding.error
    session.output.answer(result, lambda: _render(result, embedding))


def _given(text: str | None) -> str:
    if text not in (None, "-"):
        return text
    if text is None and sys.stdin.isatty():
        raise typer.BadParameter("give TEXT, or a text on standard input")
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest.of("text", "standard input is not UTF-8") from error


def _default_model(mesh: Client) -> str:
    for model in mesh.list_models():
        if model.is_default:
            return model.name
    raise FailedPrecondition("NO_DEFAULT_MODEL", "the encoder has no default model: give --model")


def _render(result: EncodeResult, embedding: Embedding) -> RenderableType:
    vectors = [_shown(vector) for vector in result.vectors.tolist()]
    shown = table(("vector",), [(vector,) for vector in vectors])
    if embedding.segments:
        spans = [one.segment or TextSpan(0, 0, "") for one in embedding.segments]
        shown = table(
            (">start", ">end", "vector", "text"),
            [
                (span.start, span.end, vector, _cut(span.text))
                for span, vector in zip(spans, vectors, strict=True)
            ],
        )
    return Group(shown, Text(), Text(_facts(result, embedding), "dim"))


def _shown(vector: list[float]) -> str:
    shown = ", ".join(f"{component:.4f}" for component in vector[:_COMPONENTS_SHOWN])
    return f"{shown}, …" if len(vector) > _COMPONENTS_SHOWN else shown


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _CHARACTERS_SHOWN else line[:_CHARACTERS_SHOWN] + "…"


def _facts(result: EncodeResult, embedding: Embedding) -> str:
    tokens = f"{embedding.tokens:,} tokens"
    if embedding.truncated:
        tokens += f" of {embedding.original_tokens:,}: the end is left out"
    timing = result.timing
    return (
        f"{result.model} {result.fingerprint}, {result.dimension} components\n{tokens}\n"
        f"total {timing.total_ms:.1f} ms: preprocess {timing.preprocess_ms:.1f},"
        f" queue {timing.queue_ms:.1f}, compute {timing.compute_ms:.1f}"
    )
