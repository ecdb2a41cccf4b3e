"""Validation of manifests: what is refused, and what happens without kustomize."""

import json
from pathlib import Path

import pytest
from validate_deploy import Kustomize, find_kustomize, validate

SERVICE = """
apiVersion: v1
kind: Service
metadata:
  name: shelf
spec:
  ports:
    - port: 50051
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A kustomization of one Service."""
    (tmp_path / "kustomization.yaml").write_text("resources: [service.yaml]\n")
    (tmp_path / "service.yaml").write_text(SERVICE)
    return tmp_path


def put_on_path(
    monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, prints: str, *, fails: bool = False
) -> None:
    """A command that prints, in a folder that is the whole PATH."""
    folder.mkdir(exist_ok=True)
    script = folder / name
    script.write_text(f"#!/bin/sh\ncat {folder}/{name}.txt\nexit {int(fails)}\n")
    (folder / f"{name}.txt").write_text(prints)
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_a_sound_manifest_has_no_faults(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert validate(folder, None, folder) == []
    assert "1 objects as written" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("port: 50051", "port: fifty", "spec.ports.0.port"),
        ("port: 50051", "port: 50051\n      colour: red", "colour"),
        ("kind: Service", "kind: Servize", "Servize"),
    ],
)
def test_a_fault_is_named_with_its_place(folder: Path, old: str, new: str, fault: str) -> None:
    (folder / "service.yaml").write_text(SERVICE.replace(old, new))
    (found,) = validate(folder, None, folder)
    assert found.startswith("service.yaml: Serv")
    assert fault in found


def test_without_kustomize_a_line_says_what_was_left_out(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert validate(folder, None, folder) == []
    assert "SKIPPED building" in capsys.readouterr().out


def test_kustomize_is_found_alone_or_inside_kubectl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bin_folder = tmp_path / "bin"
    told = json.dumps({"kustomizeVersion": "v5.6.0"})
    put_on_path(monkeypatch, bin_folder, "kustomize", "{Version:kustomize/v4.5.7 GitCommit:1}\n")
    put_on_path(monkeypatch, bin_folder, "kubectl", told)
    assert find_kustomize(tmp_path / "tools") == Kustomize(("kubectl", "kustomize"), (5, 6, 0))
    put_on_path(monkeypatch, bin_folder, "kustomize", "v5.4.3\n")
    assert find_kustomize(tmp_path / "tools") == Kustomize(("kustomize", "build"), (5, 4, 3))
    put_on_path(monkeypatch, bin_folder, "kubectl", told)
    pinned = Kustomize((str(bin_folder / "kubectl"), "kustomize"), (5, 6, 0))
    assert find_kustomize(tmp_path) == pinned


def test_one_that_is_too_old_or_fails_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bin_folder = tmp_path / "bin"
    old = json.dumps({"clientVersion": {"gitVersion": "v1.20.2"}})
    put_on_path(monkeypatch, bin_folder, "kustomize", "v5.4.3\n", fails=True)
    put_on_path(monkeypatch, bin_folder, "kubectl", old)
    assert find_kustomize(tmp_path / "tools") is None


def test_what_kustomize_builds_is_validated_too(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bin_folder = tmp_path / "bin"
    put_on_path(monkeypatch, bin_folder, "kustomize", SERVICE + "      colour: red\n")
    kustomize = Kustomize((str(bin_folder / "kustomize"), "build"), (5, 0, 0))
    (fault,) = validate(folder, kustomize, folder)
    assert "colour" in fault
    put_on_path(monkeypatch, bin_folder, "kustomize", "", fails=True)
    assert len(validate(folder, kustomize, folder)) == 1


def test_a_component_does_not_build_by_itself(folder: Path) -> None:
    text = (folder / "kustomization.yaml").read_text()
    (folder / "kustomization.yaml").write_text(text + "kind: Component\n")
    assert validate(folder, Kustomize(("no-such-command",), (5, 0, 0)), folder) == []
