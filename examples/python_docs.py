"""Searches the documentation of Python's standard library by meaning, from nothing to answers.

    python examples/python_docs.py [--stay]

Starts both services on this machine (or uses those that run at the addresses), brings the
documentation of this very interpreter in, and answers questions. Run again, it starts in seconds:
only documents that are missing or differ are sent, so that an interrupted run goes on where it was
and another Python version changes what it must. Exit code: 0 when the answers are right, 1 when
not or when something failed, 130 when interrupted.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import stdlib_corpus
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from searchmesh import (
    Client,
    Connection,
    Document,
    Field,
    FieldType,
    SearchResult,
    ServiceError,
)
from searchmesh.errors import NotFound
from searchmesh.local import LocalMesh, LocalMeshError, State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from searchmesh import ImportProgress, Service

COLLECTION = "python_docs"
MODEL = "all-minilm-l6-v2"
# of the attributes, those that filters may use
FIELDS = [Field("module", FieldType.STRING), Field("kind", FieldType.STRING)]

# a question, and what one of the three best hits must begin with; empty: anything
QUESTIONS = {
    "merge two sorted lists": "heapq.merge",
    "how do I make a temporary directory": "tempfile.",
    "count how often each word occurs": "",
    "find the differences between two texts": "",
    "read a file with comma separated values": "",
    "remove white space around a string": "",
}
_BEST = 3

_TRY_NEXT = """\
[bold]Try next[/bold]
  grpcurl -plaintext \\
    -d '{{"collection":"{collection}","text":"merge two sorted lists","limit":3}}' \\
    {search} searchmesh.search.v1.SearchService/Search
  grpcurl -plaintext -d '{{"model":"{model}",
    "contents":[{{"text":"hello"}}],"vectorFormat":"VECTOR_FORMAT_FLOATS"}}' \\
    {encoder} searchmesh.encoder.v1.EncoderService/Encode
  grpcurl -plaintext {search} list
  grpcurl -plaintext {search} describe searchmesh.search.v1.SearchRequest
  {cli} search {collection} "merge two sorted lists"
  {cli} status

[dim]grpcurl is one binary: brew install grpcurl, or github.com/fullstorydev/grpcurl.
`pip install buf-bin` brings the like:
  buf curl --protocol grpc --http2-prior-knowledge \\
    -d '{{"collection":"{collection}","text":"merge two sorted lists","limit":3}}' \\
    http://{search}/searchmesh.search.v1.SearchService/Search[/dim]"""

console = Console(highlight=False)


def main() -> int:
    """Run the example and return the exit code."""
    arguments = _parse_arguments()
    # SIGTERM stops as Ctrl-C does
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    connection = Connection(
        encoder=arguments.encoder, search=arguments.search, caller="python-docs-example"
    )
    try:
        with LocalMesh(arguments.home, connection) as mesh, Client(connection) as client:
            return _run(mesh, client, stay=arguments.stay)
    except KeyboardInterrupt:
        console.print("interrupted; the next run goes on where this one was")
        return 130
    except (ServiceError, LocalMeshError) as error:
        console.print(f"[bold red]error:[/bold red] {escape(str(error))}", soft_wrap=True)
        return 1


def _run(mesh: LocalMesh, client: Client, *, stay: bool) -> int:
    corpus = _start(mesh)
    _bring_in(client, corpus)
    wrong = _ask(client)
    if wrong:
        console.print(f"[bold red]not found where expected:[/bold red] {', '.join(wrong)}")
        return 1
    console.print(
        "\n"
        + _TRY_NEXT.format(
            collection=COLLECTION,
            model=MODEL,
            search=mesh.connection.search,
            encoder=mesh.connection.encoder,
            cli=os.path.relpath(Path(sys.executable).with_name("searchmesh")),
        ),
        soft_wrap=True,
    )
    if stay and mesh.started:
        _stay(mesh)
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    defaults = Connection()
    parser.add_argument("--stay", action="store_true", help="keep both services up until Ctrl-C")
    parser.add_argument("--encoder", default=defaults.encoder, help="default: %(default)s")
    parser.add_argument("--search", default=defaults.search, help="default: %(default)s")
    parser.add_argument(
        "--home",
        type=Path,
        default=Path(os.environ.get("SEARCHMESH_HOME", ".searchmesh")),
        help="folder for all state; default: SEARCHMESH_HOME, else %(default)s",
    )
    return parser.parse_args()


def _start(mesh: LocalMesh) -> list[Document]:
    """Start the services and read the corpus while they do."""
    started = time.monotonic()
    with console.status("starting the encoder and the search service") as spinner:
        mesh.start()
        corpus = stdlib_corpus.documents()

        def show(states: Mapping[Service, State]) -> None:
            services = ", ".join(f"{service} {state}" for service, state in states.items())
            seconds = time.monotonic() - started
            spinner.update(f"{services} ({seconds:.0f} s; the first start builds the model)")

        mesh.wait_until_serving(on_change=show)
    addresses = f"encoder {mesh.connection.encoder} and search {mesh.connection.search}"
    if mesh.started:
        console.print(
            f"{addresses} serve after {time.monotonic() - started:.1f} s;"
            f" state and logs are in {escape(str(mesh.home))}",
            soft_wrap=True,
        )
    else:
        console.print(f"{addresses} run already", soft_wrap=True)
    return corpus


def _bring_in(client: Client, corpus: list[Document]) -> None:
    """Make the collection hold exactly the corpus, sending no more than it lacks."""
    stored = _stored(client)
    missing = [document for document in corpus if stored.get(document.id) != _contents(document)]
    surplus = sorted(stored.keys() - {document.id for document in corpus})
    for first in range(0, len(surplus), 1000):
        client.delete_documents(COLLECTION, surplus[first : first + 1000])
    version = sys.version.split()[0]
    if not missing:
        console.print(f"{len(corpus):,} documents of Python {version} are in {COLLECTION} already")
        return
    started = time.monotonic()
    _import(client, missing)
    seconds = time.monotonic() - started
    console.print(
        f"{len(missing):,} of {len(corpus):,} documents of Python {version} brought into"
        f" {COLLECTION} in {seconds:.0f} s, {len(missing) / seconds:.0f} a second",
        soft_wrap=True,
    )


def _stored(client: Client) -> dict[str, tuple[object, object]]:
    """What the collection holds by id; creates the collection where it is missing."""
    try:
        collection = client.get_collection(COLLECTION)
    except NotFound:
        client.create_collection(COLLECTION, model=MODEL, fields=FIELDS)
        return {}
    if collection.model != MODEL or list(collection.fields) != FIELDS:
        raise LocalMeshError(
            f"collection {COLLECTION} has another model than {MODEL}, or other fields;"
            f" delete it: searchmesh collections delete {COLLECTION}"
        )
    return {
        document.id: _contents(document)
        for document in client.list_documents(COLLECTION, page_size=1000)
    }


def _contents(document: Document) -> tuple[object, object]:
    return document.content, document.attributes


def _import(client: Client, documents: Sequence[Document]) -> None:
    with Progress(
        TextColumn("indexing"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    ) as progress:
        task = progress.add_task("", total=len(documents))

        def show(now: ImportProgress) -> None:
            progress.update(task, completed=now.searchable_count)

        operation = client.import_documents(COLLECTION, documents, progress=show)
        for now in operation.watch():
            show(now)
        failures = [*operation.refused, *operation.failures()]
        operation.wait()
    for failure in failures:
        console.print(f"not stored: {escape(failure.id)}: {escape(failure.error.message)}")
    if failures:
        raise LocalMeshError(f"{len(failures)} documents could not be stored")


def _ask(client: Client) -> list[str]:
    """Answer every question; returns those whose best hits lack what they must hold."""
    wrong = []
    for question, expected in QUESTIONS.items():
        started = time.perf_counter()
        result = client.search(COLLECTION, question, limit=_BEST, output_fields=["*", "$content"])
        _show(question, result, (time.perf_counter() - started) * 1000)
        if not any(hit.id.startswith(expected) for hit in result):
            wrong.append(f"{question!r} ({expected})")
    return wrong


def _show(question: str, result: SearchResult, milliseconds: float) -> None:
    console.print(f"\n[bold cyan]{escape(question)}[/bold cyan] [dim]{milliseconds:.0f} ms[/dim]")
    for hit in result:
        sentence = str(hit.content).partition(": ")[2].split("\n\n")[0].replace("\n", " ")
        console.print(
            f"  {hit.score:.3f}  [bold]{escape(hit.id)}[/bold]  [dim]{escape(sentence)}[/dim]",
            overflow="ellipsis",
            no_wrap=True,
        )


def _stay(mesh: LocalMesh) -> None:
    console.print("Both services stay up; Ctrl-C stops them.")
    try:
        while True:
            mesh.check()
            time.sleep(0.5)
    except KeyboardInterrupt:
        console.print("stopping")


if __name__ == "__main__":
    sys.exit(main())
