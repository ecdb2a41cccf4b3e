"""Lints protos/ and refuses changes that break callers of what was published.

Compared with the newest reachable tag `v*`; where there is none, with origin/main; where that has
no protos either, with HEAD. Everything is read from this repository: nothing is fetched, and a
shallow clone without tags will do. Run as a script: `python tools/check_contract.py`.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from build_protos import write_image


@dataclass(frozen=True)
class Baseline:
    """The commit that the contract is compared with."""

    commit: str
    why: str
    """For the reader of the output."""


def main() -> None:
    """Command line."""
    root = Path(__file__).resolve().parent.parent
    with tempfile.TemporaryDirectory() as folder:
        faults = check(root, Path(folder))
    if faults:
        raise SystemExit("\n".join(faults))


def check(root: Path, folder: Path) -> list[str]:
    """Lint and compare the contract of the repository `root`, with images written to `folder`.

    Returns a line for each fault, with its place.
    """
    now = folder / "now.binpb"
    write_image(root, now)
    faults = _buf(root, "lint", str(now))
    _say(f"lint: {len(faults)} faults")
    baseline = find_baseline(root)
    if baseline is None:
        _say("breaking changes: not looked for; this is no git repository with protos in a commit")
        return faults
    before = folder / "before.binpb"
    _write_image_at(root, baseline.commit, before)
    broken = _buf(root, "breaking", str(now), "--against", str(before))
    _say(f"breaking changes since {baseline.commit[:10]}, {baseline.why}: {len(broken)}")
    return faults + broken


def find_baseline(root: Path) -> Baseline | None:
    """What to compare with; None where no commit of it holds protos."""
    tag = _git(root, "describe", "--tags", "--abbrev=0", "--match", "v*")
    candidates = [
        *([(f"refs/tags/{tag}", f"the newest tag {tag}")] if tag else []),
        ("refs/remotes/origin/main", "origin/main, as there is no tag v*"),
        ("HEAD", "HEAD, as there is neither a tag v* nor origin/main with protos"),
    ]
    for name, why in candidates:
        commit = _git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        if commit and _git(root, "ls-tree", commit, "protos"):
            return Baseline(commit, why)
    return None


def _write_image_at(root: Path, commit: str, target: Path) -> None:
    """The image of protos/ as of `commit`."""
    archive = subprocess.run(
        ["git", "archive", "--format=zip", commit, "protos"],
        cwd=root,
        check=True,
        capture_output=True,
    ).stdout
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(io.BytesIO(archive)) as files:
            files.extractall(folder)
        write_image(Path(folder), target)


def _git(root: Path, *arguments: str) -> str:
    """What git prints; empty where it fails: no such tag, no such branch, no repository, no git."""
    if shutil.which("git") is None:
        return ""
    done = subprocess.run(
        ["git", *arguments], cwd=root, check=False, capture_output=True, text=True
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def _buf(root: Path, command: str, *arguments: str) -> list[str]:
    """Run buf with the repository's buf.yaml. Returns its findings, a line each."""
    buf = Path(sysconfig.get_path("scripts")) / "buf"
    done = subprocess.run(
        [buf, command, *arguments], cwd=root, check=False, capture_output=True, text=True
    )
    findings = done.stdout.splitlines()
    if done.returncode != 0 and not findings:
        raise SystemExit(f"buf {command} failed: {done.stderr.strip()}")
    return findings


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
