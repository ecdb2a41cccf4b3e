from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import numpy as np
import pytest
import pytest_asyncio

from searchmesh_common.channels import Target, aio_channel
from searchmesh_common.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    Unavailable,
)
from searchmesh_search import encoder_client
from searchmesh_search.collection_spec import Segmentation
from searchmesh_search.content import Content, Modality
from searchmesh_search.deadline import Deadline
from searchmesh_search.encoder_client import ENCODER_SERVICE, EncoderClient
from searchmesh_search.engine import Metric, VectorKind
from searchmesh_search.segments import Segments, TextSpan
from tests.models import WINDOW

from .mesh import address_of, running_encoder
from .stack import soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from searchmesh_common.errors import ServiceError
    from searchmesh_common.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def client(encoder: Server) -> AsyncIterator[EncoderClient]:
    async with aio_channel(Target(address_of(encoder))) as channel:
        yield EncoderClient(channel)


def texts(*given: str) -> list[Content]:
    return [Content(Modality.TEXT, one) for one in given]


async def test_a_model_is_described(client: EncoderClient) -> None:
    model = await client.get_model("tiny", soon())
    assert (model.name, model.modality) == ("tiny", Modality.TEXT)
    assert (model.space.dimension, model.space.metric, model.space.kind) == (
        16,
        Metric.COSINE,
        VectorKind.FLOAT,
    )
    assert model.fingerprint


async def test_an_unknown_model_is_not_found(client: EncoderClient) -> None:
    with pytest.raises(NotFound) as caught:
        await client.get_model("unknown", soon())
    assert (caught.value.kind, caught.value.name) == ("model", "unknown")


async def encode(
    client: EncoderClient, *given: str, segmentation: Segmentation = Segmentation.WHOLE
) -> list[Segments | ServiceError]:
    model = await client.get_model("tiny", soon())
    return await client.encode_documents(
        "tiny", model.fingerprint, segmentation, texts(*given), soon()
    )


async def vectors(
    client: EncoderClient, *given: str, segmentation: Segmentation = Segmentation.WHOLE
) -> np.ndarray:
    """Of all texts, one after the other."""
    encoded = await encode(client, *given, segmentation=segmentation)
    return np.concatenate([one.vectors for one in encoded if isinstance(one, Segments)])


@pytest.mark.parametrize("most_characters", [encoder_client.MAX_CALL_CHARACTERS, 100, 1])
async def test_contents_come_back_in_order_however_many(
    client: EncoderClient, most_characters: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However they are cut into calls."""
    monkeypatch.setattr(encoder_client, "MAX_CALL_CHARACTERS", most_characters)
    count = 600 if most_characters > 1 else 60
    words = [f"w{number}" for number in range(count)]
    all_of_them = await vectors(client, *words)
    assert len(all_of_them) == count
    for place in (0, count // 2 - 1, count // 2, count - 1):
        alone = await vectors(client, words[place])
        np.testing.assert_array_equal(alone, all_of_them[place : place + 1])


async def test_no_contents_are_no_call(client: EncoderClient) -> None:
    assert await encode(client) == []


async def test_long_texts_come_in_passages_each_with_the_vector_of_its_text(
    client: EncoderClient,
) -> None:
    """The model's window is 24 tokens, of one letter each."""
    given = ["Short.", " \U0001f600 One sentence of some words. Another one, as long. A third one."]
    short, long = await encode(client, *given, segmentation=Segmentation.SEGMENTS)
    assert isinstance(short, Segments)
    assert short.spans == [TextSpan(0, 6)]
    assert isinstance(long, Segments)
    assert long.spans is not None
    assert len(long.spans) > 1
    passages = [given[1][one.start : one.end] for one in long.spans]
    assert all(one == one.strip() for one in passages)
    np.testing.assert_array_equal(long.vectors, await vectors(client, *passages))


async def test_a_whole_text_is_one_segment_without_a_span(client: EncoderClient) -> None:
    (one,) = await encode(client, "many words " * 20)
    assert isinstance(one, Segments)
    assert one.vectors.shape == (1, 16)
    assert one.spans is None


@pytest.mark.parametrize("segmentation", Segmentation)
async def test_a_faulty_content_fails_alone(
    client: EncoderClient, segmentation: Segmentation
) -> None:
    fine, empty = await encode(client, "fine", " ", segmentation=segmentation)
    assert isinstance(fine, Segments)
    assert isinstance(empty, InvalidRequest)
    assert [one.field for one in empty.violations] == ["text"]


async def test_a_query_is_encoded_as_one(client: EncoderClient) -> None:
    """The card puts a prefix before a query and none before a document."""
    model = await client.get_model("tiny", soon())
    query = await client.encode_query("tiny", model.fingerprint, texts("x")[0], soon())
    np.testing.assert_array_equal([query.vector], await vectors(client, "q x"))
    assert query.queue_ms >= 0


async def test_another_fingerprint_is_refused(client: EncoderClient) -> None:
    model = await client.get_model("tiny", soon())
    with pytest.raises(FailedPrecondition) as caught:
        await client.encode_documents("tiny", "another", Segmentation.WHOLE, texts("x"), soon())
    assert caught.value.reason == "FINGERPRINT_MISMATCH"
    assert caught.value.metadata == {
        "model": "tiny",
        "expected": "another",
        "actual": model.fingerprint,
    }


async def test_while_two_fingerprints_are_served_the_right_one_answers(
    client: EncoderClient, encoder: Server, tmp_path: Path
) -> None:
    """And where it is served no more, nothing does: never the other's vectors."""
    model = await client.get_model("tiny", soon())
    query = texts("x")[0]
    right = await client.encode_query("tiny", model.fingerprint, query, soon())
    async with running_encoder(tmp_path, window=WINDOW - 1) as other:
        both = f"ipv4:{address_of(encoder)},{address_of(other)}"
        async with aio_channel(Target(both, health_service=ENCODER_SERVICE)) as channel:
            mixed = EncoderClient(channel)
            for _ in range(20):
                found = await mixed.encode_query("tiny", model.fingerprint, query, soon())
                np.testing.assert_array_equal(found.vector, right.vector)
        async with aio_channel(Target(address_of(other))) as channel:
            with pytest.raises(FailedPrecondition, match="serve the model of before"):
                await EncoderClient(channel).encode_query("tiny", model.fingerprint, query, soon())


async def test_a_query_leaves_some_of_its_time_to_the_engine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        async with aio_channel(Target(address)) as channel:
            client = EncoderClient(channel, query_share=0.5)
            deadline = Deadline.after(1)
            with pytest.raises(DeadlineExceeded, match="the encoder did not answer in time"):
                await client.encode_query("tiny", "", texts("x")[0], deadline)
            assert deadline.remaining() > 0.1


async def test_an_encoder_that_is_away_is_unavailable_within_the_deadline() -> None:
    async with aio_channel(Target("127.0.0.1:1")) as channel:
        with pytest.raises((Unavailable, DeadlineExceeded)):
            await EncoderClient(channel).get_model("tiny", Deadline.after(2))


async def test_credentials_that_the_encoder_refuses_are_not_our_callers_fault(
    tmp_path: Path,
) -> None:
    (tmp_path / "tokens").write_text("another-token\n")
    async with (
        running_encoder(tmp_path, tokens_file=tmp_path / "tokens") as encoder,
        aio_channel(Target(address_of(encoder), attempts=1)) as channel,
    ):
        client = EncoderClient(channel)
        with pytest.raises(Unavailable, match="does not accept this service's credentials"):
            await client.get_model("tiny", soon())
        with pytest.raises(Unavailable, match="does not accept this service's credentials"):
            await client.encode_query("tiny", "", texts("a")[0], soon())
