"""What of the images can be told without a container engine."""

import json
import re
from pathlib import PurePosixPath

import pytest
from try_image_install import COPIED

from searchmesh_common.settings import load, unknown_variables
from searchmesh_encoder.settings import EncoderSettings
from searchmesh_search.settings import SearchSettings

from .dockerfile import ROOT, Dockerfile

SETTINGS: dict[str, tuple[type[EncoderSettings] | type[SearchSettings], str]] = {
    "encoder": (EncoderSettings, "ENCODER_"),
    "search": (SearchSettings, "SEARCH_"),
}
pytestmark = pytest.mark.parametrize("service", SETTINGS)


def test_every_stage_stands_on_the_base_image(service: str) -> None:
    text = (ROOT / "services" / service / "Dockerfile").read_text()
    assert re.search(r"^ARG BASE_IMAGE=\S+$", text, re.MULTILINE)
    assert {one.split()[0] for one in Dockerfile.of(service).all("FROM")} == {"${BASE_IMAGE}"}


def test_what_is_copied_is_in_the_repository_and_in_the_build_context(service: str) -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignore
    for source in Dockerfile.of(service).context_sources():
        assert (ROOT / source).exists(), source
        path = PurePosixPath(source)
        assert any(f"!{one}" in ignore for one in (path, *path.parents)), source


def test_everything_installed_is_pinned_and_hashed_or_our_own_wheel(service: str) -> None:
    installs = [
        command.strip()
        for run in Dockerfile.of(service).all("RUN")
        for command in run.split("&&")
        if " install " in command and "pip" in command
    ]
    assert len(installs) >= 3
    for command in installs:
        assert "--require-hashes" in command or command.endswith("/wheels/*.whl"), command


def test_the_final_stage_installs_and_compiles_nothing(service: str) -> None:
    for instruction in Dockerfile.of(service).final:
        assert not re.search(r"\b(pip|apt-get|gcc|cc|make)\b", instruction.arguments)


def test_the_process_is_python_itself_and_nobody_special(service: str) -> None:
    dockerfile = Dockerfile.of(service)
    assert json.loads(dockerfile.last("ENTRYPOINT")) == ["python", "-m", f"searchmesh_{service}"]
    user, group = dockerfile.last("USER").split(":")
    assert int(user) >= 10_000
    assert int(group) >= 10_000


def test_the_image_sets_settings_that_exist_and_exposes_their_ports(service: str) -> None:
    settings_type, prefix = SETTINGS[service]
    dockerfile = Dockerfile.of(service)
    environment = dockerfile.environment()
    settings: EncoderSettings | SearchSettings = load(settings_type, prefix, environment)
    assert unknown_variables(settings_type, prefix, environment) == []
    addresses = (settings.listen, settings.health_listen, settings.metrics_listen)
    defaults = settings_type()
    assert [one.partition(":")[0] for one in addresses] == ["0.0.0.0"] * 3
    ports = [one.partition(":")[2] for one in addresses]
    assert dockerfile.last("EXPOSE").split() == ports
    assert ports == [
        one.partition(":")[2]
        for one in (defaults.listen, defaults.health_listen, defaults.metrics_listen)
    ]
    assert str(settings.home) == "/var/lib/searchmesh"


def test_an_image_holds_what_its_service_needs_and_not_the_other_s(service: str) -> None:
    pinned = re.findall(
        r"^([a-z0-9-]+)==", (ROOT / "requirements" / f"{service}.txt").read_text(), re.MULTILINE
    )
    engine, runtime = {"pymilvus", "milvus-lite"}, {"onnxruntime", "onnx", "tokenizers"}
    wanted, unwanted = (runtime, engine) if service == "encoder" else (engine, runtime)
    assert wanted <= {*pinned}
    assert not unwanted & {*pinned}


def test_the_trial_install_builds_from_what_the_image_builds_from(service: str) -> None:
    copied = {PurePosixPath(one).parts[0] for one in Dockerfile.of(service).context_sources()}
    assert copied - {"requirements"} == {*COPIED}


def test_the_encoder_s_runtime_reports_to_nobody(service: str) -> None:
    told = Dockerfile.of(service).environment().get("ORT_DISABLE_TELEMETRY")
    assert told == ("1" if service == "encoder" else None)
