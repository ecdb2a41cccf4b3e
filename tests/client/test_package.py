"""What importing the package gives, and costs."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import searchmesh


def test_importing_loads_nothing() -> None:
    code = "import sys, searchmesh; sys.exit(any(m in sys.modules for m in ('grpc', 'numpy')))"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", searchmesh.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(searchmesh, name) is not None
    assert name in dir(searchmesh)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = searchmesh.Nothing


def test_both_clients_have_the_same_methods() -> None:
    def public(cls: type) -> set[str]:
        return {name for name in vars(cls) if not name.startswith("_")}

    assert public(searchmesh.Client) == public(searchmesh.AsyncClient)


def test_methods_document_what_they_answer() -> None:
    signature = inspect.signature(searchmesh.Client.count_documents)
    assert list(signature.parameters) == ["self", "collection", "filter", "read_after", "timeout"]
    assert signature.return_annotation == "int"
    assert str(inspect.signature(searchmesh.AsyncClient.list_models).return_annotation) == (
        "AsyncIterator[Model]"
    )
    assert searchmesh.Client.search.__doc__
