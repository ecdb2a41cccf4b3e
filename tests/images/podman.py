"""podman as these tests use it: images, and the pods of overlays/podman, each with an address."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).resolve().parent

BASE = "localhost/searchmesh-base:bookworm"
"""The base image that is made where none is given."""

STOP_SECONDS = 60
"""Longer than any drain: a container that is killed instead fails its test by its exit code."""

_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"


class NoRuntimeError(Exception):
    """No container can be run here; the text says why."""


def podman(*arguments: str, seconds: float = 120) -> str:
    """What a command of podman prints. Raises CalledProcessError where it fails."""
    done = subprocess.run(
        ["podman", *arguments],
        check=True,
        capture_output=True,
        text=True,
        timeout=seconds,
        cwd=ROOT,
        env={**os.environ, "CONTAINERS_CONF": str(FOLDER / "containers.conf")},
    )
    return done.stdout


def base_image() -> str:
    """The image to build on, which has run once. Raises NoRuntimeError."""
    if shutil.which("podman") is None:
        raise NoRuntimeError("no podman; `make container-tools` gets Debian's")
    image = os.environ.get("BASE_IMAGE") or _made_base_image()
    try:
        podman("run", "--rm", image, "python3", "--version")
    except subprocess.CalledProcessError as error:
        raise NoRuntimeError(f"no container runs here: {error.stderr.strip()}") from error
    return image


def build(service: str, base: str, version: str) -> str:
    """Build a service's image. Returns its name."""
    name = f"localhost/searchmesh-{service}:{version}"
    # the machine's registries may answer under an authority of its own
    trust = ["--volume", f"{_AUTHORITIES}:{_AUTHORITIES}:ro"]
    podman(
        *("build", "--network", "host", *trust, "--build-arg", f"BASE_IMAGE={base}"),
        *("--file", f"services/{service}/Dockerfile", "--tag", name, "."),
        seconds=900,
    )
    return name


@dataclass
class Pod:
    """A pod of one container, as `podman kube play` made it."""

    name: str
    file: Path
    container: str
    address: str = field(init=False)
    """On the mesh's network, which this machine is on, too."""

    def __post_init__(self) -> None:
        self.address = self._address()

    def inspect(self) -> dict[str, Any]:
        (told,) = json.loads(podman("container", "inspect", self.container))
        assert isinstance(told, dict)
        return told

    def logs(self) -> list[dict[str, Any]]:
        """The lines of the service's log."""
        told = subprocess.run(
            ["podman", "logs", self.container], check=True, capture_output=True, text=True
        )
        lines = (told.stdout + told.stderr).splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def python(self, program: str) -> str:
        """What a program prints inside the container."""
        return podman("exec", self.container, "python", "-c", program)

    def stop(self) -> int:
        """Stop the container as a kubelet does. Returns its exit code."""
        podman("stop", "--time", str(STOP_SECONDS), self.container)
        code = self.inspect()["State"]["ExitCode"]
        assert isinstance(code, int)
        return code

    def _address(self) -> str:
        told = json.loads(podman("pod", "inspect", self.name))
        (infra,) = json.loads(podman("container", "inspect", told["InfraContainerID"]))
        (network,) = infra["NetworkSettings"]["Networks"].values()
        return str(network["IPAddress"])


class Plays:
    """The pods that were played on a network of their own; all of them go with `close`."""

    def __init__(self, objects: list[dict[str, Any]], folder: Path) -> None:
        """objects: of overlays/podman."""
        self._objects = objects
        self._folder = folder
        self._pods: list[Pod] = []
        self._network = f"searchmesh-{os.getpid()}"
        podman("network", "create", self._network)

    def play(self, service: str, name: str, cpus: int) -> Pod:
        """One pod of a service's Deployment. Plays of a service share its name in the DNS."""
        file = self._folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump_all(self._objects_of(service, name, cpus)))
        alias = f"{self._network}:alias=searchmesh-{service}"
        podman("kube", "play", "--network", alias, str(file))
        pod = Pod(f"{name}-pod-0", file, f"{name}-pod-0-{service}")
        self._pods.append(pod)
        return pod

    def close(self) -> None:
        """Remove all that was made here, by name."""
        for pod in self._pods:
            podman("pod", "rm", "--force", "--time", "1", pod.name)
        for one in self._objects:
            if one["kind"] == "PersistentVolumeClaim":
                podman("volume", "rm", "--force", one["metadata"]["name"])
        podman("network", "rm", "--force", self._network)

    def _objects_of(self, service: str, name: str, cpus: int) -> list[dict[str, Any]]:
        objects = []
        for original in self._objects:
            one = json.loads(json.dumps(original))
            if not _is_of(one, service):
                continue
            if one["kind"] == "Deployment":
                one["metadata"]["name"] = name
                (container,) = one["spec"]["template"]["spec"]["containers"]
                container["resources"]["limits"]["cpu"] = str(cpus)
            objects.append(one)
        return objects


def _is_of(one: dict[str, Any], service: str) -> bool:
    """Whether an object belongs to a service; ConfigMaps have no label that tells."""
    component = one["metadata"].get("labels", {}).get("app.kubernetes.io/component")
    return bool(
        component == service or str(one["metadata"]["name"]).startswith(f"searchmesh-{service}-")
    )


def _made_base_image() -> str:
    """A minimal Debian with Python, made from packages on a file system in memory."""
    try:
        podman("image", "exists", BASE)
    except subprocess.CalledProcessError:
        if shutil.which("mmdebstrap") is None:
            raise NoRuntimeError("no base image: no BASE_IMAGE and no mmdebstrap") from None
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            _bootstrap(Path(folder) / "base.tar")
    return BASE


def _bootstrap(archive: Path) -> None:
    packages = "--include=python3,python3-venv,ca-certificates"
    done = subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=minbase", packages, "bookworm", str(archive)],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(archive.parent)},
    )
    if done.returncode:
        raise NoRuntimeError(f"no base image: mmdebstrap says {done.stderr.strip()[-300:]}")
    podman("import", "--quiet", str(archive), BASE)
