"""Asks checkov, a linter of policies, about objects; some of its findings are excused."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

EXCEPTIONS: dict[str, str] = yaml.safe_load(
    (Path(__file__).resolve().parent / "deploy" / "policy_exceptions.yaml").read_text()
)
"""Check -> why we leave what it finds."""


_OPTIONS = (
    *("--framework", "kubernetes", "--output", "json"),
    *("--skip-download", "--quiet", "--compact", "--soft-fail"),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that checkov has against an object."""

    check: str
    sentence: str
    resource: str
    file: str

    def __str__(self) -> str:
        return f"{self.file}: {self.resource}: {self.sentence} ({self.check})"


def findings(checkov: Path, overlays: dict[str, list[dict[str, Any]]]) -> list[Finding]:
    """All that checkov finds in the objects of each overlay, by its name."""
    with tempfile.TemporaryDirectory() as folder:
        for name, objects in overlays.items():
            (Path(folder) / f"{name}.yaml").write_text(yaml.safe_dump_all(objects))
        done = subprocess.run(
            [checkov, *_OPTIONS, "--directory", folder],
            check=True,
            capture_output=True,
            text=True,
        )
    failed = json.loads(done.stdout)["results"]["failed_checks"]
    return [
        Finding(one["check_id"], one["check_name"], one["resource"], one["file_path"].strip("/"))
        for one in failed
    ]


def faults(found: Sequence[Finding]) -> list[str]:
    """What is not excused, and excuses for nothing."""
    unused = EXCEPTIONS.keys() - {one.check for one in found}
    return [str(one) for one in found if one.check not in EXCEPTIONS] + [
        f"tools/deploy/policy_exceptions.yaml: {check} finds nothing any more"
        for check in sorted(unused)
    ]
