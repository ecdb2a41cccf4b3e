"""The manifests agree with the services that they run: ports, probes, settings, time to drain.

The base is looked at as it is written; the overlays as kustomize builds them, where there is one.
"""

import os
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from validate_deploy import TOOLS, build, find_kustomize, listed_files, load

from searchmesh.encoder.v1 import encoder_service_pb2
from searchmesh.search.v1 import search_service_pb2
from searchmesh_common import settings as settings_loader
from searchmesh_common.server_settings import ServerSettings
from searchmesh_encoder.settings import EncoderSettings
from searchmesh_search.settings import SearchSettings

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "deploy" / "k8s"
SERVICES = ("encoder", "search")
OVERLAYS = ("overlays/dev", "overlays/production")
SETTINGS: dict[str, tuple[type[ServerSettings], str]] = {
    "encoder": (EncoderSettings, "ENCODER_"),
    "search": (SearchSettings, "SEARCH_"),
}
HEALTH_NAMES = {
    "encoder": encoder_service_pb2.DESCRIPTOR.services_by_name["EncoderService"].full_name,
    "search": search_service_pb2.DESCRIPTOR.services_by_name["SearchService"].full_name,
}


@dataclass(frozen=True)
class Installation:
    """What a cluster is told."""

    objects: list[dict[str, Any]]
    configs: dict[str, dict[str, str]]
    """ConfigMaps' data, by the service they are for."""

    def one(self, kind: str, service: str) -> dict[str, Any]:
        (found,) = (one for one in self.of(kind) if named(one) == f"searchmesh-{service}")
        return found

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [one for one in self.objects if one["kind"] == kind]

    def pod(self, service: str) -> dict[str, Any]:
        pod: dict[str, Any] = self.one("Deployment", service)["spec"]["template"]["spec"]
        return pod

    def container(self, service: str) -> dict[str, Any]:
        (container,) = self.pod(service)["containers"]
        assert isinstance(container, dict)
        return container

    def settings(self, service: str) -> ServerSettings:
        return settings_loader.load(*SETTINGS[service], self.configs[service])


def named(one: dict[str, Any]) -> str:
    return str(one["metadata"]["name"])


def written() -> Installation:
    """The base, as it is written."""
    configs = {
        service: dict(
            line.split("=", 1)
            for line in (K8S / "base" / service / "settings.env").read_text().splitlines()
            if not line.startswith("#")
        )
        for service in SERVICES
    }
    objects = [one for path in listed_files(K8S / "base") for one in load(path.read_text())]
    return Installation(objects, configs)


def built(folder: str) -> Installation:
    """What kustomize makes of a folder."""
    kustomize = find_kustomize(TOOLS)
    if kustomize is None:
        pytest.skip("no kustomize here that is new enough; see docs/deploy.md")
    objects = build(kustomize, K8S / folder)
    configs = {}
    for one in objects:
        match = re.fullmatch(r"searchmesh-(encoder|search)-[a-z0-9]{10}", named(one))
        if one["kind"] == "ConfigMap" and match:
            configs[match.group(1)] = one["data"]
    return Installation(objects, configs)


@pytest.fixture(scope="module", params=["base, as written", "base", *OVERLAYS])
def installation(request: pytest.FixtureRequest) -> Installation:
    return written() if request.param == "base, as written" else built(request.param)


@pytest.fixture(scope="module")
def production() -> Installation:
    return built("overlays/production")


@pytest.fixture(scope="module")
def dev() -> Installation:
    return built("overlays/dev")


def port(address: str) -> int:
    return int(address.rpartition(":")[2])


@pytest.mark.parametrize("service", SERVICES)
def test_every_variable_is_a_setting(installation: Installation, service: str) -> None:
    config = installation.configs[service]
    installation.settings(service)
    assert settings_loader.unknown_variables(*SETTINGS[service], config) == []
    assert all(name.startswith(SETTINGS[service][1]) for name in config)


@pytest.mark.parametrize("service", SERVICES)
def test_ports_are_those_that_the_service_listens_on(
    installation: Installation, service: str
) -> None:
    settings = installation.settings(service)
    defaults = SETTINGS[service][0]()
    ports = {one["name"]: one["containerPort"] for one in installation.container(service)["ports"]}
    assert ports == {
        "grpc": port(settings.listen),
        "health": port(settings.health_listen),
        "metrics": port(settings.metrics_listen),
    }
    assert ports["grpc"] == port(defaults.listen)
    offered = installation.one("Service", service)["spec"]["ports"]
    assert {one["name"]: one["port"] for one in offered} == {
        name: ports[name] for name in ("grpc", "metrics")
    }
    assert all(one["targetPort"] == one["name"] for one in offered)


@pytest.mark.parametrize("service", SERVICES)
def test_probes_ask_the_health_port_for_names_that_exist(
    installation: Installation, service: str
) -> None:
    container = installation.container(service)
    probes = {
        name: container[f"{name}Probe"]["grpc"] for name in ("startup", "readiness", "liveness")
    }
    health_port = port(installation.settings(service).health_listen)
    assert {one["port"] for one in probes.values()} == {health_port}
    assert probes["readiness"]["service"] == HEALTH_NAMES[service]
    assert probes["liveness"]["service"] == ""
    assert probes["startup"]["service"] in ("", HEALTH_NAMES[service])


@pytest.mark.parametrize("service", SERVICES)
def test_there_is_time_to_drain(installation: Installation, service: str) -> None:
    settings = installation.settings(service)
    before = installation.container(service)["lifecycle"]["preStop"]["sleep"]["seconds"]
    after = settings.drain_seconds + max(settings.grace_seconds, settings.stream_grace_seconds)
    assert before > 0
    assert installation.pod(service)["terminationGracePeriodSeconds"] > before + after


@pytest.mark.parametrize("service", SERVICES)
def test_pods_meet_the_restricted_level(installation: Installation, service: str) -> None:
    pod, container = installation.pod(service), installation.container(service)
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] >= 10_000
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {"emptyDir", "persistentVolumeClaim", "configMap", "secret"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()


@pytest.mark.parametrize("service", SERVICES)
def test_memory_is_requested_whole_and_cpus_are_whole(
    installation: Installation, service: str
) -> None:
    resources = installation.container(service)["resources"]
    assert resources["requests"]["memory"] == resources["limits"]["memory"]
    for amounts in resources.values():
        assert re.fullmatch(r"[1-9][0-9]*", amounts["cpu"])


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_finds_its_pods_and_the_hpa_its_deployment(
    installation: Installation, service: str
) -> None:
    deployment = installation.one("Deployment", service)
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    selected = deployment["spec"]["selector"]["matchLabels"]
    assert selected.items() <= labels.items()
    assert installation.one("Service", service)["spec"]["selector"] == selected
    assert {"app.kubernetes.io/name", "app.kubernetes.io/component"} <= labels.keys()
    for autoscaler in installation.of("HorizontalPodAutoscaler"):
        assert autoscaler["spec"]["scaleTargetRef"]["name"] in {
            named(one) for one in installation.of("Deployment")
        }
        assert {*autoscaler["spec"]["behavior"]} == {"scaleUp", "scaleDown"}


def test_replicas_have_one_owner(installation: Installation) -> None:
    scaled = {
        one["spec"]["scaleTargetRef"]["name"] for one in installation.of("HorizontalPodAutoscaler")
    }
    for deployment in installation.of("Deployment"):
        assert ("replicas" in deployment["spec"]) == (named(deployment) not in scaled)


def test_search_calls_every_encoder_behind_the_headless_service(installation: Installation) -> None:
    service = installation.one("Service", "encoder")
    settings = installation.settings("search")
    assert service["spec"]["clusterIP"] == "None"
    assert isinstance(settings, SearchSettings)
    assert settings.encoder == f"dns:///{named(service)}:{port(EncoderSettings().listen)}"


def test_images_are_of_this_version_and_of_no_registry(installation: Installation) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for service in SERVICES:
        assert installation.container(service)["image"] == f"searchmesh-{service}:{version}"


def test_no_manifest_holds_a_secret(installation: Installation) -> None:
    assert installation.of("Secret") == []
    for config in installation.configs.values():
        assert not [name for name in config if re.search("TOKEN|PASSWORD|SECRET", name)]


def test_the_base_keeps_no_state_of_the_search_service() -> None:
    mounts = written().container("search")["volumeMounts"]
    assert [one["mountPath"] for one in mounts] == ["/tmp"]


def test_dev_runs_one_of_each_with_the_search_state_on_a_volume(dev: Installation) -> None:
    assert dev.of("HorizontalPodAutoscaler") == []
    assert [one["spec"]["replicas"] for one in dev.of("Deployment")] == [1, 1]
    assert dev.one("Deployment", "search")["spec"]["strategy"] == {"type": "Recreate"}
    volumes = {one["name"]: one for one in dev.pod("search")["volumes"]}
    (claim,) = dev.of("PersistentVolumeClaim")
    assert volumes["state"]["persistentVolumeClaim"]["claimName"] == named(claim)
    mounts = {one["name"]: one["mountPath"] for one in dev.container("search")["volumeMounts"]}
    assert mounts == {"state": "/var/lib/searchmesh", "tmp": "/tmp"}


def test_a_changed_setting_rolls_the_pods(dev: Installation) -> None:
    def references(one: Any) -> Iterator[str]:
        for source in one["envFrom"]:
            yield source["configMapRef"]["name"]

    configs = {named(one) for one in dev.of("ConfigMap")}
    used = {name for service in SERVICES for name in references(dev.container(service))}
    assert used == configs
    assert all(re.search(r"-[a-z0-9]{10}$", name) for name in used)


def test_production_keeps_two_of_each_through_a_drain(production: Installation) -> None:
    budgets = {named(one): one["spec"] for one in production.of("PodDisruptionBudget")}
    for autoscaler in production.of("HorizontalPodAutoscaler"):
        assert autoscaler["spec"]["minReplicas"] >= 2
        budget = budgets[named(autoscaler)]
        assert budget["maxUnavailable"] == 1
        assert budget["selector"]["matchLabels"] == {"app.kubernetes.io/name": named(autoscaler)}


def test_production_shares_its_state(production: Installation) -> None:
    settings = production.settings("search")
    assert isinstance(settings, SearchSettings)
    assert not settings.has_embedded_engine
    assert settings.journal.startswith("postgresql://")
    (claim,) = production.of("PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    mounts = [one["mountPath"] for one in production.container("search")["volumeMounts"]]
    assert str(settings.contents_folder) in mounts


def test_files_in_settings_are_mounted(production: Installation) -> None:
    for service in SERVICES:
        mounts = [one["mountPath"] for one in production.container(service)["volumeMounts"]]
        for name, value in production.configs[service].items():
            if name.endswith(("_CERTIFICATE", "_KEY", "_CA")):
                assert any(value.startswith(f"{one}/") for one in mounts), name


def test_edges_between_pods_are_opened_on_both_sides(production: Installation) -> None:
    policies = {named(one): one["spec"] for one in production.of("NetworkPolicy")}
    denied = policies.pop("searchmesh-default-deny")
    assert denied["policyTypes"] == ["Ingress", "Egress"]
    for service in SERVICES:
        labels = production.one("Deployment", service)["spec"]["template"]["metadata"]["labels"]
        assert denied["podSelector"]["matchLabels"].items() <= labels.items()
    encoder, search = ({"app.kubernetes.io/name": f"searchmesh-{one}"} for one in SERVICES)
    out, into = policies["searchmesh-search-to-encoder"], policies["searchmesh-encoder-from-search"]
    assert out["podSelector"]["matchLabels"] == search
    assert out["egress"] == [
        {"to": [{"podSelector": {"matchLabels": encoder}}], "ports": [{"port": "grpc"}]}
    ]
    assert into["podSelector"]["matchLabels"] == encoder
    assert into["ingress"] == [
        {"from": [{"podSelector": {"matchLabels": search}}], "ports": [{"port": "grpc"}]}
    ]


def test_search_may_reach_the_engine_and_the_journal(production: Installation) -> None:
    (stores,) = (
        one["spec"]
        for one in production.of("NetworkPolicy")
        if named(one) == "searchmesh-search-to-stores"
    )
    engine = production.configs["search"]["SEARCH_ENGINE"]
    opened = [one["port"] for rule in stores["egress"] for one in rule["ports"]]
    assert opened == [port(engine), 5432]


def test_keda_takes_the_place_of_the_autoscalers(tmp_path: Path) -> None:
    kustomize = find_kustomize(TOOLS)
    if kustomize is None:
        pytest.skip("no kustomize here that is new enough; see docs/deploy.md")
    places = ("base", "components/autoscaling-keda")
    base, keda = (os.path.relpath(K8S / one, tmp_path) for one in places)
    (tmp_path / "kustomization.yaml").write_text(f"resources: [{base}]\ncomponents: [{keda}]\n")
    objects = build(kustomize, tmp_path)
    scaled = [one["spec"] for one in objects if one["kind"] == "ScaledObject"]
    assert not [one for one in objects if one["kind"] == "HorizontalPodAutoscaler"]
    assert {one["scaleTargetRef"]["name"] for one in scaled} == {
        f"searchmesh-{service}" for service in SERVICES
    }
