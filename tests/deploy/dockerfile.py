"""As much of a Dockerfile as our tests ask about."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Instruction:
    """One instruction, continued lines joined."""

    name: str
    arguments: str


@dataclass(frozen=True)
class Dockerfile:
    """A Dockerfile's instructions, stage by stage; those before the first FROM are left out."""

    stages: tuple[tuple[Instruction, ...], ...]

    @classmethod
    def of(cls, service: str) -> Dockerfile:
        """That of services/`service`."""
        text = (ROOT / "services" / service / "Dockerfile").read_text()
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        stages: list[list[Instruction]] = []
        for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
            name, _, arguments = line.partition(" ")
            if name == "FROM":
                stages.append([])
            if stages:
                stages[-1].append(Instruction(name, arguments))
        return cls(tuple(map(tuple, stages)))

    @property
    def final(self) -> tuple[Instruction, ...]:
        """The stage that becomes the image."""
        return self.stages[-1]

    def all(self, name: str) -> list[str]:
        """The arguments of every instruction of this name, in all stages."""
        return [one.arguments for stage in self.stages for one in stage if one.name == name]

    def last(self, name: str) -> str:
        """The arguments of the final stage's last instruction of this name."""
        return [one.arguments for one in self.final if one.name == name][-1]

    def environment(self) -> dict[str, str]:
        """The variables that the image sets."""
        words = shlex.split(" ".join(one.arguments for one in self.final if one.name == "ENV"))
        return dict(word.split("=", 1) for word in words)

    def context_sources(self) -> list[str]:
        """What is copied from the build context, as paths below the repository's folder."""
        copies = [shlex.split(one) for one in self.all("COPY") if "--from=" not in one]
        return [source for copy in copies for source in copy[:-1] if not source.startswith("--")]
