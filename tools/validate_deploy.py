"""Validates deploy/k8s: strict schemas, custom resources, policies.

The manifests that kustomizations list are validated as they are written, and every kustomization
as kustomize builds it, against the schemas of the newest Kubernetes version known here and the two
before. Custom resources are held to their makers' types and to our allowed keys, and what the
overlays build to a linter of policies.

kustomize, node's packages and the linter are those of `make deploy-tools`; kustomize may be on
PATH, too, by itself or inside kubectl. What needs one that is missing is left out, and a line says
so. Run as a script: `python tools/validate_deploy.py`.
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

import custom_resources
import deploy_policy
import kubernetes_validate
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

KUSTOMIZATION = "kustomization.yaml"

ROOT = Path(__file__).resolve().parent.parent

TOOLS = ROOT / "build" / "deploy-tools"
"""Where `make deploy-tools` installs."""

SCHEMA_VERSIONS = 3
"""So many of Kubernetes' versions, the newest first, as are supported at a time."""

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
    faults = validate(ROOT / "deploy" / "k8s", find_kustomize(TOOLS), TOOLS)
    if faults:
        raise SystemExit("\n".join(faults))


def validate(folder: Path, kustomize: Kustomize | None, tools: Path) -> list[str]:
    """Validate everything below `folder`. Returns a line for each fault, with its place."""
    versions = schema_versions()
    written = {
        str(path.relative_to(folder)): load(path.read_text()) for path in listed_files(folder)
    }
    _say(f"{_count(written)} objects as written, against Kubernetes {', '.join(versions)}")
    faults = object_faults(written, versions)
    built: dict[str, list[dict[str, Any]]] = {}
    if kustomize is None:
        oldest = ".".join(map(str, OLDEST_KUSTOMIZE))
        _skip(f"building: neither kustomize nor kubectl with v{oldest} or newer")
    else:
        built, build_faults = build_all(kustomize, folder)
        faults += build_faults + object_faults(built, versions)
    faults += _type_faults({**written, **built}, tools)
    return faults + _policy_faults(built, tools)


def schema_versions() -> list[str]:
    """The newest versions whose schemas we have, the newest first."""
    newest = kubernetes_validate.latest_version()
    major, minor = map(int, newest.split(".")[:2])
    return [newest, *(f"{major}.{minor - before}.0" for before in range(1, SCHEMA_VERSIONS))]


def find_kustomize(tools: Path) -> Kustomize | None:
    """The kustomize to build with; None where there is none that is new enough.

    tools: a folder that is looked at before PATH.
    """
    pinned = str(tools / "bin" / "kubectl")
    candidates = [
        ((pinned, "kustomize"), _inside(pinned)),
        (("kustomize", "build"), _output("kustomize", "version")),
        (("kubectl", "kustomize"), _inside("kubectl")),
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


def build_all(
    kustomize: Kustomize, folder: Path
) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    """The objects of every kustomization below `folder` by its place, and what did not build."""
    built, faults = {}, []
    for kustomization in _buildable(folder):
        place = str(kustomization.relative_to(folder))
        try:
            built[place] = build(kustomize, kustomization)
        except subprocess.CalledProcessError as error:
            faults.append(f"{place}: {error.stderr.strip()}")
    _say(f"{_count(built)} objects of {len(built)} kustomizations, built by {kustomize}")
    return built, faults


def object_faults(places: dict[str, list[dict[str, Any]]], versions: list[str]) -> list[str]:
    """What schemas and allowed keys have against the objects of each place."""
    faults = []
    for place, objects in places.items():
        for one in objects:
            at = f"{place}: {_name(one)}"
            if custom_resources.is_custom(one):
                faults += [f"{at}: {fault}" for fault in custom_resources.key_faults(one)]
            else:
                faults += _schema_faults(one, versions, at)
    return faults


def _schema_faults(one: dict[str, Any], versions: list[str], place: str) -> list[str]:
    """What schemas that admit no unknown property have against an object, each fault once."""
    for version in versions:
        try:
            kubernetes_validate.validate(one, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            at = ".".join(map(str, error.path))
            return [f"{place}: {at}: {error.message} (Kubernetes {version})"]
        except kubernetes_validate.SchemaNotFoundError as error:
            return [f"{place}: {error.message}"]
    return []


def _type_faults(places: dict[str, list[dict[str, Any]]], tools: Path) -> list[str]:
    """What the published types have against the custom resources of each place."""
    custom = [
        (place, one)
        for place, objects in places.items()
        for one in objects
        if custom_resources.is_custom(one)
    ]
    if not custom:
        return []
    judged = custom_resources.type_faults([one for _, one in custom], tools)
    if judged is None:
        _skip("published types of custom resources: no node, or not its packages")
        return []
    without = sorted(
        {one["kind"] for (_, one), found in zip(custom, judged, strict=True) if found is None}
    )
    _say(f"{len(custom)} custom resources; without published types: {', '.join(without) or 'none'}")
    return [
        f"{place}: {_name(one)}: {fault}"
        for (place, one), found in zip(custom, judged, strict=True)
        for fault in found or ()
    ]


def _policy_faults(built: dict[str, list[dict[str, Any]]], tools: Path) -> list[str]:
    """What checkov has against the overlays."""
    overlays = {
        place.removeprefix("overlays/"): objects
        for place, objects in built.items()
        if place.startswith("overlays/")
    }
    checkov = tools / "bin" / "checkov"
    if not overlays:
        return []
    if not checkov.exists():
        _skip("policies: no checkov")
        return []
    found = deploy_policy.findings(checkov, overlays)
    _say(f"{len(found)} findings of checkov in {', '.join(overlays)}; exceptions have reasons")
    return deploy_policy.faults(found)


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


def _inside(kubectl: str) -> str:
    """The version of the kustomize inside a kubectl; those that do not tell are too old."""
    told = _output(kubectl, "version", "--client", "--output=json")
    return str(json.loads(told or "{}").get("kustomizeVersion", ""))


def _name(one: dict[str, Any]) -> str:
    return f"{one.get('kind')} {one.get('metadata', {}).get('name')}"


def _count(places: dict[str, list[dict[str, Any]]]) -> int:
    return sum(map(len, places.values()))


def _skip(what: str) -> None:
    _say(f"SKIPPED {what} here; see `make deploy-tools`")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
