"""Validates deploy/k8s strictly against the schemas of the newest Kubernetes version known here.

The manifests that kustomizations list are validated as they are written, and every kustomization
as kustomize builds it. kustomize is found on PATH, by itself or inside kubectl; where there is
none, or one too old, the second part is left out and a line says so. Run as a script:
`python tools/validate_deploy.py`.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

KUSTOMIZATION = "kustomization.yaml"

OLDEST_KUSTOMIZE = (5, 0, 0)
"""Older ones do not know every field that our kustomizations use."""


@dataclass(frozen=True)
class Kustomize:
    """A command that builds a kustomization: followed by its folder, it prints the objects."""

    command: tuple[str, ...]
    version: tuple[int, ...]

    def __str__(self) -> str:
        return f"{' '.join(self.command)} v{'.'.join(map(str, self.version))}"


def main() -> None:
    """Command line."""
    faults = validate(Path(__file__).resolve().parent.parent / "deploy" / "k8s", find_kustomize())
    if faults:
        raise SystemExit("\n".join(faults))


def validate(folder: Path, kustomize: Kustomize | None) -> list[str]:
    """Validate everything below `folder`. Returns a line for each fault, with its place."""
    version = kubernetes_validate.latest_version()
    objects = 0
    faults = []
    for path in listed_files(folder):
        for one in load(path.read_text()):
            objects += 1
            faults += schema_faults(one, version, str(path.relative_to(folder)))
    _say(f"{objects} objects as written, against Kubernetes {version}")
    if kustomize is None:
        oldest = ".".join(map(str, OLDEST_KUSTOMIZE))
        _say(
            f"kustomizations not built: neither kustomize nor kubectl with v{oldest} or newer here"
        )
        return faults
    for built in _buildable(folder):
        faults += _built_faults(kustomize, built, version, str(built.relative_to(folder)))
    return faults


def find_kustomize() -> Kustomize | None:
    """The kustomize to build with; None where there is none that is new enough."""
    alone = _output("kustomize", "version")
    inside = _output("kubectl", "version", "--client", "--output=json")
    candidates = [
        (("kustomize", "build"), alone),
        # kubectls that do not tell are older than our oldest
        (("kubectl", "kustomize"), str(json.loads(inside or "{}").get("kustomizeVersion", ""))),
    ]
    for command, told in candidates:
        found = re.search(r"v(\d+)\.(\d+)\.(\d+)", told)
        version = tuple(map(int, found.groups())) if found else ()
        if version >= OLDEST_KUSTOMIZE:
            return Kustomize(command, version)
    return None


def build(kustomize: Kustomize, folder: Path) -> list[dict[str, Any]]:
    """The objects of a kustomization. Raises CalledProcessError with what kustomize said."""
    done = subprocess.run(
        [*kustomize.command, str(folder)], check=True, capture_output=True, text=True
    )
    return load(done.stdout)


def load(text: str) -> list[dict[str, Any]]:
    """The objects of a YAML stream."""
    return [one for one in yaml.safe_load_all(text) if one is not None]


def listed_files(folder: Path) -> Iterator[Path]:
    """The manifests that kustomizations below `folder` list; patches are no manifests."""
    for kustomization in sorted(folder.rglob(KUSTOMIZATION)):
        for resource in yaml.safe_load(kustomization.read_text()).get("resources", ()):
            path = kustomization.parent / resource
            if not path.is_dir():
                yield path


def schema_faults(one: dict[str, Any], version: str, place: str) -> list[str]:
    """What a schema that admits no unknown property has against an object."""
    place = f"{place}: {one.get('kind')} {one.get('metadata', {}).get('name')}"
    try:
        kubernetes_validate.validate(one, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{place}: {'.'.join(map(str, error.path))}: {error.message}"]
    except kubernetes_validate.SchemaNotFoundError as error:
        return [f"{place}: {error.message}"]
    return []


def _built_faults(kustomize: Kustomize, folder: Path, version: str, place: str) -> list[str]:
    try:
        objects = build(kustomize, folder)
    except subprocess.CalledProcessError as error:
        return [f"{place}: {error.stderr.strip()}"]
    _say(f"{len(objects)} objects of {place}, built by {kustomize}")
    return [fault for one in objects for fault in schema_faults(one, version, place)]


def _buildable(folder: Path) -> Iterator[Path]:
    """Folders that build by themselves; a Component only changes what another builds."""
    for kustomization in sorted(folder.rglob(KUSTOMIZATION)):
        if yaml.safe_load(kustomization.read_text()).get("kind") != "Component":
            yield kustomization.parent


def _output(command: str, *arguments: str) -> str:
    """What a command prints; empty where it is not there or fails."""
    found = shutil.which(command)
    if found is None:
        return ""
    done = subprocess.run([found, *arguments], check=False, capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else ""


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
