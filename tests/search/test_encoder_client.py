from __future__ import annotations

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
from searchmesh_search.content import Content, Modality
from searchmesh_search.deadline import Deadline
from searchmesh_search.encoder_client import EncoderClient
from searchmesh_search.engine import Metric, VectorKind

from .mesh import address_of, running_encoder
from .stack import soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

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


async def test_contents_come_back_in_order_however_many(client: EncoderClient) -> None:
    model = await client.get_model("tiny", soon())
    words = [f"w{number}" for number in range(600)]
    vectors = await client.encode_documents("tiny", model.fingerprint, texts(*words), soon())
    assert len(vectors) == 600
    for place in (0, 255, 256, 599):
        alone = await client.encode_documents(
            "tiny", model.fingerprint, texts(words[place]), soon()
        )
        np.testing.assert_array_equal(alone, vectors[place : place + 1])


async def test_a_faulty_content_fails_alone(client: EncoderClient) -> None:
    model = await client.get_model("tiny", soon())
    fine, empty = await client.encode_documents(
        "tiny", model.fingerprint, texts("fine", " "), soon()
    )
    assert isinstance(fine, np.ndarray)
    assert fine.shape == (16,)
    assert isinstance(empty, InvalidRequest)
    assert [one.field for one in empty.violations] == ["text"]


async def test_a_query_is_encoded_as_one(client: EncoderClient) -> None:
    """The card puts a prefix before a query and none before a document."""
    model = await client.get_model("tiny", soon())
    query = await client.encode_query("tiny", model.fingerprint, texts("x")[0], soon())
    documents = await client.encode_documents("tiny", model.fingerprint, texts("q x"), soon())
    np.testing.assert_array_equal([query.vector], documents)
    assert query.queue_ms >= 0


async def test_another_fingerprint_is_refused(client: EncoderClient) -> None:
    model = await client.get_model("tiny", soon())
    with pytest.raises(FailedPrecondition) as caught:
        await client.encode_documents("tiny", "another", texts("x"), soon())
    assert caught.value.reason == "FINGERPRINT_MISMATCH"
    assert caught.value.metadata == {
        "model": "tiny",
        "expected": "another",
        "actual": model.fingerprint,
    }


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
        aio_channel(Target(address_of(encoder), retries=False)) as channel,
    ):
        client = EncoderClient(channel)
        with pytest.raises(Unavailable, match="does not accept this service's credentials"):
            await client.get_model("tiny", soon())
        with pytest.raises(Unavailable, match="does not accept this service's credentials"):
            await client.encode_query("tiny", "", texts("a")[0], soon())
