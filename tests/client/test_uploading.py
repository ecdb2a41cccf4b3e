"""Both clients' imports: against a server that breaks their streams as it is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

import pytest

from searchmesh import Client, Connection, Document, ImportFailure, errors, uploads
from searchmesh.search.v1 import document_service_pb2 as pb
from tests.client.both import AnyClient
from tests.client.importing import importing

Connect = Callable[[Connection], Awaitable[AnyClient]]


@pytest.fixture(autouse=True)
def small_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that few documents make many messages."""
    monkeypatch.setattr(uploads, "MOST_DOCUMENTS", 10)


def documents(count: int) -> Iterator[Document]:
    for number in range(count):
        yield Document(f"d{number}", f"text {number}", attributes={"number": number})


def ids(count: int) -> list[str]:
    return [f"d{number}" for number in range(count)]


async def test_all_arrive_in_order_in_messages_of_bounded_size(connect: Connect) -> None:
    with importing() as service:
        client = await connect(service.connection)
        operation = await client.call("import_documents", "notes", documents(95), request_id="r")
        assert operation.name == "operations/r"
    assert [one.id for one in service.imports["r"].documents] == ids(95)
    assert service.imports["r"].collection == "notes"
    assert service.sizes == [10] * 9 + [5]
    assert service.opened == [0]


async def test_messages_are_bounded_by_bytes_too(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MOST_BYTES", 250)
    given = [Document(f"d{n}", "x" * (500 if n == 2 else 100)) for n in range(6)]
    with importing() as service:
        client = await connect(service.connection)
        await client.call("import_documents", "notes", given)
    assert service.sizes == [2, 1, 2, 1]


async def test_an_import_is_given_an_id_of_its_own(connect: Connect) -> None:
    with importing() as service:
        client = await connect(service.connection)
        first = await client.call("import_documents", "notes", documents(1))
        second = await client.call("import_documents", "notes", documents(1))
    assert {first.name, second.name} == {f"operations/{one}" for one in service.imports}
    assert len(service.imports) == 2


async def test_no_document_is_an_import_too(connect: Connect) -> None:
    with importing() as service:
        client = await connect(service.connection)
        await client.call("import_documents", "notes", [], request_id="r")
    assert service.imports["r"].state == "IMPORT_STATE_RUNNING"


@pytest.mark.parametrize(
    ("cuts", "opened"),
    [
        ([3], [0, 30]),
        ([0], [0, 0]),
        # more often than a call may be repeated, but with messages in between
        ([0, 1, 2, 1], [0, 0, 10, 30, 40]),
        # the last one is received, and its answer lost
        ([9], [0, 90]),
    ],
)
async def test_a_stream_that_breaks_goes_on_where_it_was(
    connect: Connect, cuts: list[int], opened: list[int]
) -> None:
    with importing(cuts=list(cuts)) as service:
        client = await connect(service.connection)
        await client.call("import_documents", "notes", documents(95), request_id="r")
    assert [one.id for one in service.imports["r"].documents] == ids(95)
    assert service.opened == opened


async def test_what_was_received_of_a_message_is_not_sent_again(connect: Connect) -> None:
    with importing(cuts=[3], torn=4) as service:
        client = await connect(service.connection)
        await client.call("import_documents", "notes", documents(95), request_id="r")
    assert [one.id for one in service.imports["r"].documents] == ids(95)
    assert service.opened == [0, 34]


async def test_no_more_is_held_than_a_window(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "WINDOW_BYTES", 4000)
    read: list[str] = []

    def source() -> Iterator[Document]:
        for document in documents(2000):
            read.append(document.id)
            yield document

    with importing() as service:
        service.may_receive.clear()
        client = await connect(service.connection)
        importing_ = asyncio.ensure_future(
            client.call("import_documents", "notes", source(), request_id="r")
        )
        await asyncio.sleep(0.5)
        assert len(read) < 200
        service.may_receive.set()
        await importing_
    assert [one.id for one in service.imports["r"].documents] == ids(2000)


async def test_documents_that_cannot_be_sent_are_refused_in_their_place(connect: Connect) -> None:
    given = list(documents(25))
    given[3] = Document("big", "text", attributes={"n": 2**53 + 1})
    given[4] = Document("", "text")
    given[20] = Document("large", "x" * 2000)
    with importing() as service:
        # positions are among those that were sent
        service.failures = [
            pb.ImportFailure(id=one, position=position)
            for one, position in (("d2", 2), ("d5", 3), ("d19", 17), ("d21", 18))
        ]
        service.watched = [[pb.ImportMetadata(failures=service.failures)]]
        client = await connect(replace(service.connection, max_message_bytes=2000))
        operation = await client.call("import_documents", "notes", given, request_id="r")
        assert [(one.position, one.id) for one in operation.refused] == [
            (3, "big"),
            (4, ""),
            (20, "large"),
        ]
        assert "send it as a string" in str(operation.refused[0].error)
        assert "has 2,0" in str(operation.refused[2].error)
        expected = [(2, "d2"), (5, "d5"), (19, "d19"), (21, "d21")]
        failures = await client.all_of(operation.failures)
        assert [(one.position, one.id) for one in failures] == expected
        (progress,) = await client.all_of(operation.watch)
        assert [(one.position, one.id) for one in progress.failures] == expected
    assert len(service.imports["r"].documents) == 22


async def test_refused_documents_may_be_told_instead_of_kept(connect: Connect) -> None:
    told: list[ImportFailure] = []
    with importing() as service:
        client = await connect(service.connection)
        given = [Document("a", "x"), Document("")]
        operation = await client.call("import_documents", "notes", given, refused=told.append)
    assert [one.position for one in told] == [1]
    assert operation.refused == []


async def test_what_an_earlier_call_sent_is_passed_over(connect: Connect) -> None:
    with importing() as service:
        client = await connect(service.connection)
        await client.call("import_documents", "notes", documents(33), request_id="r")
        given = [Document(""), *documents(95)]
        await client.call(
            "import_documents",
            "notes",
            given,
            request_id="r",
            resume_from=33,
            refused=lambda _: None,
        )
    assert [one.id for one in service.imports["r"].documents] == ids(95)
    assert service.opened == [0, 33]


async def test_fewer_documents_than_were_received_are_other_content(connect: Connect) -> None:
    with importing() as service:
        client = await connect(service.connection)
        await client.call("import_documents", "notes", documents(33), request_id="r")
        with pytest.raises(errors.AlreadyExists, match="received 33 documents and only 20 are"):
            await client.call(
                "import_documents", "notes", documents(20), request_id="r", resume_from=33
            )


async def test_a_refusal_is_told_at_once_and_names_the_import(connect: Connect) -> None:
    with importing() as service:
        client = await connect(service.connection)
        with pytest.raises(errors.NotFound, match="no collection missing") as raised:
            await client.call("import_documents", "missing", documents(1000), request_id="r")
    assert "import: operations/r" in raised.value.__notes__
    assert service.opened == [0]


async def test_a_service_that_stays_away_is_an_error(connect: Connect) -> None:
    with importing(cuts=[2, *[0] * 100]) as service:
        client = await connect(service.connection)
        with pytest.raises(errors.Unavailable, match=r"draining|ended the stream"):
            await client.call("import_documents", "notes", documents(95), request_id="r")
    assert len(service.opened) > 3


async def test_nobody_at_the_address_is_unreachable(connect: Connect) -> None:
    with importing() as gone:
        connection = gone.connection
    client = await connect(connection)
    with pytest.raises(errors.Unreachable):
        await client.call("import_documents", "notes", documents(1))


async def test_what_the_service_has_lost_is_not_passed_over(connect: Connect) -> None:
    with importing(cuts=[2, 0], forgets=True) as service:
        client = await connect(service.connection)
        with pytest.raises(errors.DataLoss, match="has received 18 documents, and had 19 before"):
            await client.call("import_documents", "notes", documents(95), request_id="r")


async def test_an_answer_before_the_end_is_a_fault(connect: Connect) -> None:
    with importing(ends_early=True) as service:
        client = await connect(service.connection)

        def slow() -> Iterator[Document]:
            for document in documents(1000):
                yield document
                if document.id == "d50":
                    threading.Event().wait(0.5)

        with pytest.raises(errors.Internal, match="ended the import before"):
            await client.call("import_documents", "notes", slow())


async def test_an_error_of_the_documents_is_the_callers(connect: Connect) -> None:
    def broken() -> Iterator[Document]:
        yield from documents(20)
        # what a call to another mesh may raise, and no cut of this stream
        raise errors.Unavailable("elsewhere")

    with importing() as service:
        client = await connect(service.connection)
        with pytest.raises(errors.Unavailable, match="elsewhere"):
            await client.call("import_documents", "notes", broken())
    assert len(service.opened) <= 1


async def test_time_runs_out_for_all_of_it(connect: Connect) -> None:
    with importing() as service:
        service.may_receive.clear()
        client = await connect(replace(service.connection, timeout=0.001))
        with pytest.raises(errors.DeadlineExceeded, match=r"within 0\.3 s"):
            await client.call("import_documents", "notes", documents(95), timeout=0.3)


async def test_progress_is_told_while_documents_are_sent(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "ASK_SECONDS", 0.0)
    seen: list[int] = []
    with importing() as service:
        client = await connect(service.connection)
        await client.call(
            *("import_documents", "notes", documents(500)),
            progress=lambda progress: seen.append(progress.received_count),
        )
    assert seen == sorted(seen)
    assert seen


def test_an_interrupt_says_how_the_import_is_named() -> None:
    def interrupted() -> Iterator[Document]:
        yield from documents(20)
        raise KeyboardInterrupt

    with importing() as service, Client(service.connection) as client:
        with pytest.raises(KeyboardInterrupt) as raised:
            client.import_documents("notes", interrupted(), request_id="r")
        assert raised.value.__notes__ == ["import: operations/r"]
