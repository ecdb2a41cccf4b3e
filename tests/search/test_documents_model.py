"""Documents against a dictionary: any order of writes, failures, sweeps and restarts."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchmesh_common.errors import Unavailable

from .engines import between_runs
from .stack import document, open_stack, soon

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from searchmesh_search.collection_spec import Collection
    from searchmesh_search.milvus_engine import MilvusEngine

    from .postgres import PostgresServer
    from .stack import Stack

    Steps = list[tuple[str, list[str]]]

IDS = st.sampled_from(["a", "b", "c"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("upsert"), st.lists(IDS, min_size=1, unique=True)),
        st.tuples(st.just("fail"), st.lists(IDS, min_size=1, unique=True)),
        st.tuples(st.just("delete"), st.lists(IDS)),
        st.tuples(st.sampled_from(["sweep", "restart"]), st.just([])),
    ),
    max_size=12,
)


def test_any_order_of_writes_reads_as_a_dictionary_does(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    def journal() -> AbstractContextManager[str]:
        return nullcontext("")

    check_any_order(tmp_path_factory, journal)


@pytest.mark.slow
def test_it_does_so_on_postgresql(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer
) -> None:
    check_any_order(tmp_path_factory, postgres_server.database)


def check_any_order(
    tmp_path_factory: pytest.TempPathFactory, journal: Callable[[], AbstractContextManager[str]]
) -> None:
    @settings(max_examples=25, deadline=None)
    @given(STEPS)
    def check(steps: Steps) -> None:
        with journal() as url:
            runner.run(follow(tmp_path_factory.mktemp("stack"), engine, url, steps))

    with between_runs("milvus-lite", tmp_path_factory.mktemp("engine")) as (runner, engine):
        check()


async def follow(folder: Path, engine: MilvusEngine, journal_url: str, steps: Steps) -> None:
    model: dict[str, bytes] = {}
    opened = open_stack(folder, engine, journal_url)
    stack = await opened.__aenter__()
    things = await stack.collection()
    for number, (step, ids) in enumerate(steps):
        content = str(number).encode()
        if step == "upsert":
            await stack.upsert(things, *(document(one, stored=content) for one in ids))
            model |= dict.fromkeys(ids, content)
        elif step == "fail":
            stack.engine.fail_once("insert", Unavailable("away"))
            with pytest.raises(Unavailable):
                await stack.upsert(things, *(document(one, stored=content) for one in ids))
        elif step == "delete":
            removed = await stack.writer.delete(things, ids, "", soon())
            assert removed == len(model.keys() & set(ids))
            model = {one: held for one, held in model.items() if one not in ids}
        elif step == "sweep":
            assert await rows_left(stack, things) == len(model)
        else:
            await opened.__aexit__(None, None, None)
            opened = open_stack(folder, engine, journal_url)
            stack = await opened.__aenter__()
        assert await stack.ids(things) == sorted(model)
        assert {
            one: (await stack.documents.get(things, one, soon())).stored for one in model
        } == model
        assert await stack.documents.count(things, soon()) == len(model)
    assert await rows_left(stack, things) == len(model)
    await opened.__aexit__(None, None, None)


async def rows_left(stack: Stack, things: Collection) -> int:
    """Rows in the engine after the sweeper has done its work."""
    await stack.sweeper.sweep(soon())
    return int(await stack.engine.count_rows(things.physical, 5))
