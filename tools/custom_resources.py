"""Checks custom resources: by their makers' published types, and by the keys that we allow."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FOLDER = Path(__file__).resolve().parent / "deploy"

ALLOWED_KEYS: dict[str, list[str]] = yaml.safe_load((FOLDER / "allowed_keys.yaml").read_text())
"""Kind -> patterns of paths below an object; see the file."""

_EVERY_OBJECT = ("apiVersion", "kind", "metadata.name", "metadata.namespace", "metadata.labels.*")


def is_custom(one: dict[str, Any]) -> bool:
    """Whether an object's kind is not Kubernetes' own."""
    group = str(one.get("apiVersion", "")).rpartition("/")[0]
    return "." in group and not group.endswith("k8s.io")


def key_faults(one: dict[str, Any]) -> list[str]:
    """The keys of an object that nobody allowed."""
    kind = str(one["kind"])
    if kind not in ALLOWED_KEYS:
        return [f"{kind} has no entry in tools/deploy/allowed_keys.yaml"]
    allowed = [_pattern(path) for path in (*_EVERY_OBJECT, *ALLOWED_KEYS[kind])]
    return [
        f"{'.'.join(path)} is not in tools/deploy/allowed_keys.yaml"
        for path in dict.fromkeys(_paths(one))
        if not any(one.fullmatch("\0".join(path)) for one in allowed)
    ]


def type_faults(objects: Sequence[dict[str, Any]], packages: Path) -> list[list[str] | None] | None:
    """What the published types have against each object; None for a kind that they do not know.

    packages: the folder with node_modules. None as a whole where that or node is missing.
    """
    node = shutil.which("node")
    if node is None or not (packages / "node_modules").is_dir():
        return None
    # modules are looked for from the script's place on
    script = shutil.copy(FOLDER / "custom_resources.mjs", packages)
    done = subprocess.run(
        [node, str(script)],
        input=json.dumps(objects),
        capture_output=True,
        text=True,
        check=True,
    )
    faults: list[list[str] | None] = json.loads(done.stdout)
    return faults


def _pattern(path: str) -> re.Pattern[str]:
    steps = (re.escape(step) if step != "*" else "[^\0]*" for step in path.split("."))
    return re.compile("\0".join(steps))


def _paths(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all leaves; an empty mapping or list is one, too."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _paths(inner, (*path, str(key)))
    elif isinstance(value, list) and value:
        for inner in value:
            yield from _paths(inner, path)
    else:
        yield path
