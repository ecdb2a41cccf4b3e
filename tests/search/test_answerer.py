"""Questions answered with what is stored, over the wire."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from searchmesh.search.v1 import search_service_pb2 as pb
from searchmesh.search.v1.collection_service_pb2 import FIELD_TYPE_INT64, FIELD_TYPE_STRING, Field
from searchmesh.search.v1.document_pb2 import Document
from searchmesh.type.v1.content_pb2 import Content
from searchmesh.type.v1.vector_pb2 import METRIC_COSINE, METRIC_EUCLIDEAN
from searchmesh_common.errors import FailedPrecondition, InvalidRequest, NotFound
from searchmesh_search import answerer

from .mesh import SECONDS, faults, refused
from .test_search_servicer import attributes

if TYPE_CHECKING:
    from typing import Any

    from .mesh import Mesh

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUESTIONS: dict[str, dict[str, Any]] = {
    "what is a cat": {"reply": "An animal.", "short": "animal", "year": 1},
    "what is a car": {"reply": "A machine."},
    "what is a cab": {"reply": ""},
    "what is a can": {"reply": 7},
    "who": {"reply": "Somebody.", "year": 2},
    "zzz 999": {},
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def faq(mesh: Mesh) -> str:
    name = f"c{uuid.uuid4().hex}"
    fields = [
        Field(name="short", type=FIELD_TYPE_STRING),
        Field(name="year", type=FIELD_TYPE_INT64),
    ]
    await mesh.create(name, model="tiny", fields=fields)
    await mesh.upsert(
        name,
        *(
            Document(id=f"q{place}", content=Content(text=text), attributes=attributes(**values))
            for place, (text, values) in enumerate(QUESTIONS.items())
        ),
    )
    return name


async def ask(
    mesh: Mesh, collection: str, question: str, answer_field: str = "reply", **request: Any
) -> pb.AnswerResponse:
    message = pb.AnswerRequest(
        collection=collection, question=question, answer_field=answer_field, **request
    )
    response: pb.AnswerResponse = await mesh.search.Answer(message, timeout=SECONDS)
    return response


async def test_the_nearest_question_that_has_an_answer_gives_it(mesh: Mesh, faq: str) -> None:
    response = await ask(mesh, faq, "what is a cat", threshold=-1)
    assert response.metric == METRIC_COSINE
    answers = [response.answer, *response.alternatives]
    assert sorted(one.id for one in answers) == ["q0", "q1", "q4"]
    assert answers == sorted(answers, key=lambda one: -one.score)
    for one in answers:
        assert one.question == list(QUESTIONS)[int(one.id[1:])]
        assert one.answer == QUESTIONS[one.question]["reply"]
    # what is nearer and has no answer is passed over
    can = await ask(mesh, faq, "what is a can", threshold=-1, alternatives=0)
    assert can.answer.id in {"q0", "q1", "q4"}
    assert not can.alternatives


async def test_there_is_no_answer_where_nothing_is_near_enough(mesh: Mesh, faq: str) -> None:
    nearest = (await ask(mesh, faq, "what is a cap", threshold=-1)).answer
    just = await ask(mesh, faq, "what is a cap", threshold=nearest.score)
    assert just.answer == nearest
    none = await ask(mesh, faq, "what is a cap", threshold=nearest.score + 1e-6, alternatives=2)
    assert not none.HasField("answer")
    assert none.alternatives[0] == nearest
    assert len(none.alternatives) == 2


async def test_filters_and_declared_fields(mesh: Mesh, faq: str) -> None:
    who = await ask(mesh, faq, "what is a cat", threshold=-1, filter="year = 2")
    assert (who.answer.id, list(who.alternatives)) == ("q4", [])
    short = await ask(mesh, faq, "who", "short", threshold=-1)
    assert (short.answer.answer, list(short.alternatives)) == ("animal", [])
    nothing = await ask(mesh, faq, "who", "short", threshold=-1, filter="year = 2")
    assert nothing == pb.AnswerResponse(metric=METRIC_COSINE)


async def test_an_attribute_that_nothing_holds_says_so(mesh: Mesh, faq: str) -> None:
    error = await refused(ask(mesh, faq, "who", "repyl"))
    assert isinstance(error, FailedPrecondition)
    assert error.reason == "NO_ANSWERS"
    assert error.metadata == {"collection": faq, "answer_field": "repyl"}
    assert error.message.startswith("answer_field: none of the 6 nearest documents")


async def test_it_looks_on_where_the_nearest_have_no_answer(
    mesh: Mesh, faq: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answerer, "LOOK_GROWTH", 2)
    found = await ask(mesh, faq, "zzz 999", threshold=-1, alternatives=0)
    assert found.answer.answer


async def test_a_faulty_request_names_its_field(mesh: Mesh, faq: str) -> None:
    for request, field in (
        ({"question": ""}, "question"),
        ({"question": " "}, "question"),
        ({"answer_field": "not one"}, "answer_field"),
        ({"answer_field": "year"}, "answer_field"),
        ({"threshold": float("nan")}, "threshold"),
        ({"alternatives": 101}, "alternatives"),
        ({"filter": "reply = 'x'"}, "filter"),
        ({"read_after": "x"}, "read_after"),
    ):
        given: dict[str, Any] = {"question": "who", **request}
        assert await faults(ask(mesh, faq, **given)) == [field]
    assert isinstance(await refused(ask(mesh, "missing", "who")), NotFound)
    vectors = f"c{uuid.uuid4().hex}"
    await mesh.create(vectors)
    error = await refused(ask(mesh, vectors, "who", threshold=0))
    assert isinstance(error, FailedPrecondition)
    assert error.reason == "NO_MODEL"
    assert error.message.startswith("question: ")


async def test_scores_that_are_no_likeness_need_a_threshold(mesh: Mesh) -> None:
    name = f"c{uuid.uuid4().hex}"
    await mesh.create(name, vector_space={"dimension": 4, "metric": METRIC_EUCLIDEAN})
    error = await refused(ask(mesh, name, "who"))
    assert isinstance(error, InvalidRequest)
    assert [one.field for one in error.violations] == ["threshold"]
    assert "euclidean" in error.message
