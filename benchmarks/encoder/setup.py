"""Every contender, started; and checked to compute the same vectors."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from encoder.bench import ECHO, OURS, Bench
from encoder.ceiling import Ceiling
from encoder.ours import WITHOUT_REPEATS, encoder, listening_ports, our_target
from encoder.peer import PEERS_BY_NAME
from encoder.processes import BENCHMARKS, ServerProcess
from encoder.sweep import Peers
from encoder.texts import Texts
from searchmesh_encoder.cpus import available_cpus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from encoder.model import ModelFiles
    from encoder.ours import Encoder
    from encoder.target import Target

ALIKE = 0.9999
"""Least cosine of a peer's vector and ours: one model file, run in other batches and versions."""


@contextmanager
def contenders(
    model: ModelFiles, folder: Path, peers: Sequence[str], seconds: float
) -> Iterator[Bench]:
    """All servers but the peers', which start when they are first measured.

    folder: holds `home`, where the model is built, and all state.
    """
    cpus = available_cpus()
    texts = Texts(model.tokenizer)
    home = folder / "home"
    with (
        Ceiling(model, cpus) as ceiling,
        encoder(OURS, model, home, folder / "ours.log", WITHOUT_REPEATS) as ours,
        encoder("ours, cache on", model, home, folder / "cached.log", {}) as cached,
        _echo(model, folder / "echo.log") as echo,
        Peers(
            {name: PEERS_BY_NAME[name] for name in peers},
            model,
            folder,
            cpus,
            check=_same_vectors(ours, [*texts.queries(3), *texts.passages(2)]),
        ) as running,
    ):
        yield Bench(
            model=model,
            texts=texts,
            ceiling=ceiling,
            ours=ours,
            cached=cached,
            echo=echo,
            peers=running,
            cpus=cpus,
            seconds=seconds,
        )


@contextmanager
def _echo(model: ModelFiles, log: Path) -> Iterator[Target]:
    """A method of ours that does no work, on the encoder's own stack."""
    environ = {
        "PYTHONPATH": str(BENCHMARKS),
        "ECHO_LISTEN": "127.0.0.1:0",
        "ECHO_LOG_FORMAT": "json",
        "ECHO_DRAIN_SECONDS": "0",
    }
    command = [sys.executable, "-m", "encoder.echo_server"]
    with ServerProcess(ECHO, command, environ, log) as process:
        yield our_target(ECHO, process, listening_ports(process), model)


def _same_vectors(ours: Encoder, texts: Sequence[str]) -> Callable[[Target], None]:
    """A check that a server computes what our encoder computes."""
    expected = ours.encode(texts)

    def check(target: Target) -> None:
        found = target.encode(texts)
        norms = np.linalg.norm(expected, axis=1) * np.linalg.norm(found, axis=1)
        least = float(((expected * found).sum(axis=1) / norms).min())
        if least < ALIKE:
            raise target.process.error(f"computes other vectors than ours: cosine {least:.5f}")

    return check
