"""Custom resources: whose they are, keys that nobody allowed, what published types refuse."""

from pathlib import Path
from typing import Any

import pytest
from custom_resources import is_custom, key_faults, type_faults
from validate_deploy import TOOLS

SCALED: dict[str, Any] = {
    "apiVersion": "keda.sh/v1alpha1",
    "kind": "ScaledObject",
    "metadata": {"name": "shelf"},
    "spec": {"scaleTargetRef": {"name": "shelf"}, "triggers": []},
}


def changed(**spec: Any) -> dict[str, Any]:
    return {**SCALED, "spec": {**SCALED["spec"], **spec}}


@pytest.mark.parametrize(
    ("version", "custom"),
    [("v1", False), ("apps/v1", False), ("networking.k8s.io/v1", False), ("milvus.io/v1", True)],
)
def test_whose_a_kind_is(version: str, custom: bool) -> None:
    assert is_custom({"apiVersion": version}) == custom


def test_a_key_that_nobody_allowed_is_named() -> None:
    trigger = {"type": "prometheus", "metadata": {"querry": "up"}}
    assert key_faults(changed(triggers=[trigger, trigger])) == [
        "spec.triggers.metadata.querry is not in tools/deploy/allowed_keys.yaml"
    ]
    assert key_faults({**SCALED, "kind": "Shelf"}) == [
        "Shelf has no entry in tools/deploy/allowed_keys.yaml"
    ]


def test_published_types_refuse_a_wrong_value() -> None:
    sound, wrong = changed(minReplicaCount=2), changed(minReplicaCount="two")
    found = type_faults([sound, wrong, {"apiVersion": "milvus.io/v1beta1"}], TOOLS)
    if found is None:
        pytest.skip("no node, or not its packages; see `make deploy-tools`")
    assert found[0] == []
    assert found[1]
    assert "minReplicaCount" in found[1][0]
    assert found[2] is None


def test_without_packages_there_is_no_judgement(tmp_path: Path) -> None:
    assert type_faults([SCALED], tmp_path) is None
