from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from searchmesh_common.errors import (
    AlreadyExists,
    DataLoss,
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    Unavailable,
)
from searchmesh_search.collection_spec import CollectionSpec, VectorSpace
from searchmesh_search.content import Content, Modality
from searchmesh_search.content_store import pack_path
from searchmesh_search.deadline import Deadline
from searchmesh_search.engine import DeclaredField, FieldType, Metric, Row, VectorKind, row_key
from searchmesh_search.journal import document_rows

from .stack import SPACE, document, open_stack, soon

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from searchmesh_common.errors import ServiceError
    from searchmesh_search.collection_spec import Collection
    from searchmesh_search.document_checks import NewDocument

    from .stack import Stack

    Write = Callable[..., Awaitable[bytes]]
    """`Engine.insert` or `Engine.delete`."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def stored(stack: Stack, collection: Collection, document_id: str) -> bytes:
    return (await stack.documents.get(collection, document_id, soon())).stored


async def rows(stack: Stack, collection: Collection) -> int:
    """Rows in the engine after the sweeper has done its work."""
    await stack.sweeper.sweep(soon())
    return int(await stack.engine.count_rows(collection.physical, 5))


async def generations(stack: Stack, collection: Collection) -> dict[str, int]:
    """The current generation of each document, as the journal has it."""
    found = await stack.journal.read(
        lambda c: document_rows.page(c, collection.id, "", 1_000), soon()
    )
    return {one.document_id: one.generation for one in found}


async def errors(
    stack: Stack, collection: Collection, *documents: NewDocument | ServiceError
) -> Sequence[ServiceError | None]:
    return (await stack.writer.upsert(collection, documents, soon())).errors


async def test_a_document_is_read_back_as_given_and_replaced_by_id(stack: Stack) -> None:
    things = await stack.collection()
    before = datetime.now(UTC)
    await stack.upsert(things, document("a", stored=b"one"), document("b"))
    await stack.upsert(things, document("a", [0, 1, 0, 0], stored=b"two"))
    read = await stack.documents.get(things, "a", soon())
    assert (read.id, read.stored) == ("a", b"two")
    assert before - timedelta(milliseconds=1) <= read.update_time <= datetime.now(UTC)
    assert (await stack.documents.vector(things, "a", soon())).tolist() == [0, 1, 0, 0]
    assert await stack.documents.count(things, soon()) == 2
    assert await rows(stack, things) == 2


async def test_what_is_not_there_is_not_found(stack: Stack) -> None:
    things = await stack.collection()
    for read in (stack.documents.get, stack.documents.vector):
        with pytest.raises(NotFound, match="no document 'a' in collection 'things'") as caught:
            await read(things, "a", soon())
        assert (caught.value.kind, caught.value.name) == ("document", "a")


async def test_a_collection_touched_by_a_write_says_so(stack: Stack) -> None:
    things = await stack.collection()
    await stack.upsert(things, document("a"))
    assert (await stack.collections.get("things", soon())).update_time > things.update_time


async def test_a_deleted_document_is_gone_for_readers_at_once_and_then_from_the_engine(
    stack: Stack,
) -> None:
    things = await stack.collection()
    await stack.upsert(things, *(document(one) for one in "abc"))
    assert await stack.writer.delete(things, ["a", "c", "c", "nothing"], "", soon()) == 2
    assert await stack.ids(things) == ["b"]
    assert await stack.documents.count(things, soon()) == 1
    assert await stack.engine.count_rows(things.physical, 5) == 3
    assert await rows(stack, things) == 1
    await stack.upsert(things, document("a"))
    assert await stack.ids(things) == ["a", "b"]


async def test_a_repeated_deletion_deletes_nothing_more(stack: Stack) -> None:
    things = await stack.collection()
    await stack.upsert(things, document("a"), document("b"))
    assert await stack.writer.delete(things, ["a", "x"], "d-1", soon()) == 1
    await stack.upsert(things, document("a"))
    assert await stack.writer.delete(things, ["x", "a"], "d-1", soon()) == 1
    assert await stack.ids(things) == ["a", "b"]
    with pytest.raises(AlreadyExists, match="request_id: 'd-1' was used for another"):
        await stack.writer.delete(things, ["b"], "d-1", soon())


async def test_a_repeated_upsert_writes_nothing_more_and_answers_the_same(stack: Stack) -> None:
    things = await stack.collection()
    mine = [document("a", stored=b"mine"), document("b", None)]
    first = await stack.writer.upsert(things, mine, soon(), "u-1")
    await stack.upsert(things, document("a", stored=b"theirs"))
    again = await stack.writer.upsert(things, mine, soon(), "u-1")
    assert again.write_token == first.write_token
    assert [one and one.message for one in again.errors] == [
        None,
        "documents[1].vector: required: the collection has no model",
    ]
    assert await stored(stack, things, "a") == b"theirs"
    others = await stack.collection("others")
    for collection, documents in (
        (things, mine[:1]),
        (things, [document("a", stored=b"other"), mine[1]]),
        (others, mine),
    ):
        with pytest.raises(AlreadyExists, match="request_id: 'u-1' was used for another"):
            await stack.writer.upsert(collection, documents, soon(), "u-1")
    assert await stored(stack, things, "a") == b"theirs"
    assert await rows(stack, others) == 0


async def test_a_repeat_that_overtakes_its_first_call_is_the_only_one_that_writes(
    stack: Stack,
) -> None:
    things = await stack.collection()
    entered, go_on = stack.engine.hold("insert")
    held = asyncio.create_task(
        stack.writer.upsert(things, [document("a", stored=b"mine")], soon(), "u-1")
    )
    await entered.wait()
    repeat = await stack.writer.upsert(things, [document("a", stored=b"mine")], soon(), "u-1")
    await stack.upsert(things, document("a", stored=b"theirs"))
    go_on.set()
    assert await held == repeat
    assert await stored(stack, things, "a") == b"theirs"
    assert await rows(stack, things) == 1


async def test_two_upserts_at_once_under_one_request_id_store_one_of_them(stack: Stack) -> None:
    things = await stack.collection()
    outcomes = await asyncio.gather(
        *(stack.writer.upsert(things, [document(one)], soon(), "u-1") for one in "ab"),
        return_exceptions=True,
    )
    assert sum(isinstance(one, AlreadyExists) for one in outcomes) == 1
    assert len(await stack.ids(things)) == 1
    assert await rows(stack, things) == 1


async def test_an_upsert_that_failed_may_be_repeated_and_one_that_stored_nothing_corrected(
    stack: Stack,
) -> None:
    things = await stack.collection()
    result = await stack.writer.upsert(things, [document("a", None)], soon(), "u-1")
    assert result.write_token == b""
    stack.engine.fail_once("insert", Unavailable("gone"))
    with pytest.raises(Unavailable):
        await stack.writer.upsert(things, [document("a")], soon(), "u-1")
    assert (await stack.writer.upsert(things, [document("a")], soon(), "u-1")).errors == [None]
    assert await stack.ids(things) == ["a"]


async def test_pages_go_by_the_bytes_of_ids_and_their_tokens_belong_to_one_list(
    stack: Stack,
) -> None:
    things = await stack.collection()
    ids = ["a", "B", "é", "😀", "ab", "a b", "10", "9"]
    await stack.upsert(things, *(document(one) for one in ids))
    assert await stack.ids(things) == sorted(ids, key=str.encode)
    token = (await stack.documents.list_page(things, 3, "", soon())).next_page_token
    others = await stack.collection("others")
    await stack.upsert(others, document("z"))
    for collection, foreign in (
        (others, token),
        (things, token[:-4]),
        (things, "é"),
        (things, "?"),
    ):
        with pytest.raises(InvalidRequest, match="page_token: not a token of this list"):
            await stack.documents.list_page(collection, 3, foreign, soon())


async def test_a_page_ends_early_where_documents_are_large(stack: Stack) -> None:
    things = await stack.collection()
    await stack.upsert(things, *(document(one, stored=bytes(5 << 20)) for one in "abc"))
    page = await stack.documents.list_page(things, 100, "", soon())
    assert [one.id for one in page.documents] == ["a"]
    assert await stack.ids(things) == ["a", "b", "c"]


async def test_contents_are_encoded_where_no_vector_is_given(stack: Stack) -> None:
    texts = await stack.collection("texts", model="tiny")
    assert await errors(
        stack,
        texts,
        document("encoded", None, text="four"),
        document("given", [0, 0, 1, 0], text="kept with it"),
    ) == [None, None]
    assert (await stack.documents.vector(texts, "encoded", soon())).tolist() == [4, 1, 0, 0]
    assert (await stack.documents.vector(texts, "given", soon())).tolist() == [0, 0, 1, 0]


async def test_faulty_documents_fail_alone(stack: Stack) -> None:
    texts = await stack.collection("texts", model="tiny")
    own = NotFound("thing", "x", "found faulty before")
    found = await errors(
        stack,
        texts,
        document("fine"),
        document("", text="x"),
        document("tab\t"),
        document("é" * 129),
        document("short", [1, 0]),
        document("nan", [1, float("nan"), 0, 0]),
        document("zero", [0, 0, 0, 0]),
        document("nothing", None),
        document("empty", None, text=""),
        own,
        document("fine", [0, 1, 0, 0]),
    )
    assert [None if one is None else one.message for one in found] == [
        None,
        "documents[1].id: 0 bytes of UTF-8 given, 1 to 256 allowed",
        "documents[2].id: holds a control character; leave it out",
        "documents[3].id: 258 bytes of UTF-8 given, 1 to 256 allowed",
        "documents[4].vector: has 2 components, the collection's vectors have 4",
        "documents[5].vector: component 1 is nan; give finite numbers up to 1e+15",
        "documents[6].vector: is shorter than 1e-15: no direction to compare by cosine",
        "documents[7].content: required where no vector is given",
        "documents[8].content.text: is empty",
        "found faulty before",
        "documents[10].id: the same as of documents[0]; give each id once a call",
    ]
    assert await stack.ids(texts) == ["fine"]
    assert (await stack.documents.vector(texts, "fine", soon())).tolist() == [1, 0, 0, 0]


async def test_when_all_fail_nothing_is_written(stack: Stack) -> None:
    things = await stack.collection()
    result = await stack.writer.upsert(things, [document("a", None)], soon())
    (error,) = result.errors
    assert error is not None
    assert error.message == "documents[0].vector: required: the collection has no model"
    assert result.write_token == b""


async def test_a_content_of_another_modality_fails_alone(stack: Stack) -> None:
    texts = await stack.collection("texts", model="tiny")
    picture = replace(document("a", None), content=Content(Modality.IMAGE, b"png"))
    (error,) = await errors(stack, texts, picture)
    assert error is not None
    assert error.message == (
        "documents[0].content: is image, the collection's model tiny reads text"
    )


async def test_binary_vectors_are_packed_bits(stack: Stack) -> None:
    space = VectorSpace(16, Metric.JACCARD, VectorKind.BINARY)
    bits = await stack.collections.create(CollectionSpec("bits", vector_space=space), "", soon())
    packed = replace(document("a"), vector=np.array([1, 255], np.uint8))
    floats = document("b", [1.0] * 16)
    long = replace(document("c"), vector=np.zeros(3, np.uint8))
    assert [one and one.message for one in await errors(stack, bits, packed, floats, long)] == [
        None,
        "documents[1].vector: is a float vector, the collection holds binary ones",
        "documents[2].vector: has 24 components, the collection's vectors have 16",
    ]


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"n": 2.0**53}, "documents[0].attributes.n: is 2^53 or more in magnitude"),
        ({"a": {"b": [1.0, -(2.0**60)]}}, "documents[0].attributes.a.b[1]: is 2^53 or more"),
        ({"n": float("inf")}, "documents[0].attributes.n: is inf; give a finite number"),
        ({"year": "1999"}, "documents[0].attributes.year: is not of type int64"),
        ({"year": 1999.5}, "documents[0].attributes.year: 1999.5 has a fraction"),
        ({"year": True}, "documents[0].attributes.year: is not of type int64"),
        ({"title": 5.0}, "documents[0].attributes.title: is not of type string"),
        ({"ratio": "x"}, "documents[0].attributes.ratio: is not of type double"),
        ({"open": 1.0}, "documents[0].attributes.open: is not of type bool"),
        ({"title": "é" * 40_000}, "80000 bytes given, a declared string has at most 65535"),
    ],
)
async def test_faulty_attributes(stack: Stack, attributes: dict[str, Any], message: str) -> None:
    things = await declared(stack)
    (error,) = await errors(stack, things, document("a", attributes=attributes))
    assert error is not None
    assert message in error.message


async def declared(stack: Stack) -> Collection:
    types = {
        "year": FieldType.INT64,
        "title": FieldType.STRING,
        "ratio": FieldType.DOUBLE,
        "open": FieldType.BOOL,
    }
    fields = tuple(DeclaredField(name, kind) for name, kind in types.items())
    spec = CollectionSpec("things", vector_space=SPACE, fields=fields)
    return await stack.collections.create(spec, "", soon())


async def test_declared_attributes_reach_the_engine_typed_and_others_do_not(stack: Stack) -> None:
    things = await declared(stack)
    given = {"year": 1999.0, "title": "t", "open": False, "other": [2.0**53 - 1, None, "x"]}
    inserted: list[Row] = []

    async def insert_and_tell(
        insert: Write, physical: str, rows: Sequence[Row], timeout: float
    ) -> bytes:
        inserted.extend(rows)
        return await insert(physical, rows, timeout)

    stack.engine.patch("insert", insert_and_tell)
    await stack.upsert(things, document("a", attributes=given))
    (row,) = inserted
    assert row.fields == {"year": 1999, "title": "t", "ratio": None, "open": False}
    assert isinstance(row.fields["year"], int)


async def test_only_current_generations_are_confirmed(stack: Stack) -> None:
    things = await stack.collection()
    await stack.upsert(things, document("a", stored=b"old"), document("b"), document("c"))
    found = list((await generations(stack, things)).items())
    asked = time.monotonic()
    await stack.upsert(things, document("a", stored=b"new"))
    await stack.writer.delete(things, ["b"], "", soon())
    confirmed = await stack.documents.confirm(things, found, asked, soon())
    assert [key[0] for key in confirmed.rows] == ["c"]
    assert confirmed.overtaken
    later = time.monotonic() + 0.001
    assert not (await stack.documents.confirm(things, found, later, soon())).overtaken
    new = ("a", (await generations(stack, things))["a"])
    confirmed = await stack.documents.confirm(things, [*found, new], asked, soon())
    assert not confirmed.overtaken
    assert await stack.contents.get([confirmed.rows[new].content]) == [b"new"]


async def test_many_documents_at_once(stack: Stack) -> None:
    things = await stack.collection()
    ids = [f"{n:05d}" for n in range(2_000)]
    await stack.upsert(things, *(document(one) for one in ids))
    await stack.upsert(things, *(document(one) for one in ids[::2]))
    assert await stack.documents.count(things, soon()) == 2_000
    assert await stack.writer.delete(things, ids[500:], "", soon()) == 1_500
    assert await rows(stack, things) == 500


async def test_a_failed_write_is_never_seen_and_its_rows_are_dropped(stack: Stack) -> None:
    things = await stack.collection()
    await stack.upsert(things, document("a", stored=b"before"))

    async def insert_and_fail(insert: Write, *given: Any) -> None:
        await insert(*given)
        raise Unavailable("the engine fell over after the rows were in")

    stack.engine.patch("insert", insert_and_fail)
    with pytest.raises(Unavailable, match="fell over"):
        await stack.writer.upsert(things, [document("a"), document("b")], soon())
    stack.engine.restore("insert")
    assert await stored(stack, things, "a") == b"before"
    assert await stack.ids(things) == ["a"]
    assert await stack.engine.count_rows(things.physical, 5) == 3
    assert await rows(stack, things) == 1


async def test_the_last_write_begun_wins_whichever_ends_last(stack: Stack) -> None:
    things = await stack.collection()
    await stack.upsert(things, document("a", stored=b"zero"))
    entered, go_on = stack.engine.hold("insert")
    first = asyncio.create_task(stack.upsert(things, document("a", stored=b"first")))
    await entered.wait()
    await stack.upsert(things, document("a", stored=b"second"))
    # a sweep in between must not take the first for abandoned
    await stack.sweeper.sweep(soon())
    go_on.set()
    await first
    assert await stored(stack, things, "a") == b"second"
    assert await stack.documents.count(things, soon()) == 1
    assert await rows(stack, things) == 1


async def test_a_collection_deleted_during_a_write_takes_no_document(stack: Stack) -> None:
    things = await stack.collection()
    entered, go_on = stack.engine.hold("insert")
    writing = asyncio.create_task(stack.upsert(things, document("a")))
    await entered.wait()
    await stack.collections.delete("things", "", soon())
    go_on.set()
    with pytest.raises(NotFound, match="collection 'things' was deleted"):
        await writing
    for use in (
        stack.documents.count(things, soon()),
        stack.writer.delete(things, ["a"], "", soon()),
        stack.writer.upsert(things, [document("a")], soon()),
    ):
        with pytest.raises(NotFound, match="was deleted"):
            await use
    await stack.sweeper.sweep(soon())
    assert things.physical not in await stack.engine.list_collections(5)


async def test_a_collection_that_the_engine_dropped_meanwhile_was_deleted(stack: Stack) -> None:
    """The sweeper is quicker than the calls that still use the collection."""
    things = await stack.collection()
    await stack.upsert(things, document("a"))
    entered, go_on = stack.engine.hold("insert")
    writing = asyncio.create_task(stack.upsert(things, document("b")))
    await entered.wait()
    await stack.collections.delete("things", "", soon())
    await stack.sweeper.sweep(soon())
    go_on.set()
    for use in (
        writing,
        stack.upsert(things, document("c")),
        stack.documents.vector(things, "a", soon()),
        stack.documents.get(things, "a", soon()),
        stack.documents.list_page(things, 10, "", soon()),
    ):
        with pytest.raises(NotFound, match="collection 'things' was deleted") as caught:
            await use
        assert (caught.value.kind, caught.value.name) == ("collection", "things")


async def test_an_engine_that_is_away_costs_no_content(stack: Stack, tmp_path: Path) -> None:
    things = await stack.collection()
    stack.engine.fail_once("has_collection", Unavailable("the engine is away"))
    with pytest.raises(Unavailable, match="engine is away"):
        await stack.upsert(things, document("a"))
    assert list((tmp_path / "content").glob("*/*")) == []
    await stack.upsert(things, document("a"))


async def test_a_deadline_that_passes_in_the_engine_is_told_in_time(stack: Stack) -> None:
    things = await stack.collection()

    async def time_out(_insert: Write, _physical: str, _rows: object, timeout: float) -> None:
        await asyncio.sleep(timeout)
        raise DeadlineExceeded("the engine took too long")

    stack.engine.patch("insert", time_out)
    with pytest.raises(DeadlineExceeded):
        await stack.writer.upsert(things, [document("a")], Deadline.after(0.2))
    assert await stack.ids(things) == []


async def test_a_damaged_content_is_data_loss(stack: Stack, tmp_path: Path) -> None:
    things = await stack.collection()
    await stack.upsert(things, document("a", stored=b"precious"))
    read = await stack.journal.read(lambda c: document_rows.find(c, things.id, ["a"]), soon())
    ref = read["a"].content
    path = pack_path(tmp_path / "content", ref.pack)
    path.write_bytes(path.read_bytes().replace(b"precious", b"previous"))
    with pytest.raises(DataLoss):
        await stored(stack, things, "a")


async def test_concurrent_writers_of_the_same_ids_leave_one_of_each(stack: Stack) -> None:
    things = await stack.collection()

    async def write(number: int) -> None:
        if number % 5 == 4:
            await stack.writer.delete(things, ["a"], "", soon())
        else:
            await stack.upsert(things, *(document(one, stored=b"%d" % number) for one in "abc"))

    await asyncio.gather(*(write(number) for number in range(40)))
    ids = await stack.ids(things)
    assert set(ids) >= {"b", "c"}
    assert await stack.documents.count(things, soon()) == len(ids)
    assert await rows(stack, things) == len(ids)
    keys = {row_key(one, held, 0) for one, held in (await generations(stack, things)).items()}
    assert (await stack.engine.vectors(things.physical, sorted(keys), 5)).keys() == keys


VICTIM = """
import asyncio, sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from {package}.stack import document, open_stack

async def main():
    async with open_stack(Path(sys.argv[1]), None, sys.argv[2], lease_seconds=0.5) as stack:
        things = await stack.collection()
        number = 0
        while True:
            await stack.upsert(things, *(document(f"{{number}}-{{part}}") for part in range(20)))
            print(number, flush=True)
            number += 1

asyncio.run(main())
"""


@pytest.mark.parametrize("acknowledged", [1, 23])
async def test_a_kill_in_the_middle_of_writes_loses_nothing_acknowledged(
    tmp_path: Path, journal_url: str, acknowledged: int
) -> None:
    last = await asyncio.to_thread(kill_after, tmp_path, journal_url, acknowledged)
    async with open_stack(tmp_path, None, journal_url) as stack:
        things = await stack.collections.get("things", soon())
        ids = await stack.ids(things)
        whole = {f"{number}-{part}" for number in range(last + 1) for part in range(20)}
        extra = set(ids) - whole
        # the write in hand may have been committed just before the kill, then all of it
        assert set(ids) >= whole
        assert extra in (set(), {f"{last + 1}-{part}" for part in range(20)})
        assert await stack.documents.count(things, soon()) == len(ids)
        assert await stored(stack, things, ids[-1]) == ids[-1].encode()

        async def nothing_is_pending() -> bool:
            pending = "SELECT count(*) FROM pending"
            return not await stack.journal.read(
                lambda c: c.exec_driver_sql(pending).scalar_one(), soon()
            )

        await stack.sweep_until(nothing_is_pending)


def kill_after(folder: Path, journal_url: str, acknowledged: int) -> int:
    """Run writes in another process, kill it, and return the last one it was told is done."""
    package = __package__
    root = Path(__file__).parents[package.count(".") + 1]
    victim = subprocess.Popen(
        [sys.executable, "-c", VICTIM.format(package=package), str(folder), journal_url],
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(root)])},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert victim.stdout is not None
    with victim:
        last = -1
        while last < acknowledged:
            last = int(victim.stdout.readline())
        time.sleep(0.003 * (acknowledged % 4))  # not always at the same point of the next write
        victim.send_signal(signal.SIGKILL)
        return max([last, *(int(line) for line in victim.stdout)])
