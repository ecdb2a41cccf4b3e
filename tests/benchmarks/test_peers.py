from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from encoder.environments import REQUIREMENTS, pinned
from encoder.peer import PEERS_BY_NAME

if TYPE_CHECKING:
    from encoder.peer import Peer


@pytest.mark.parametrize("peer", PEERS_BY_NAME.values(), ids=PEERS_BY_NAME)
def test_a_peer_has_pinned_requirements_without_pytorch(peer: Peer) -> None:
    pins = pinned(peer.environment)
    assert "onnxruntime" in pins
    assert "torch" not in pins
    text = (REQUIREMENTS / f"{peer.environment}.txt").read_text()
    assert text.count("--hash=sha256:") >= len(pins)


@pytest.mark.parametrize("peer", PEERS_BY_NAME.values(), ids=PEERS_BY_NAME)
def test_a_peer_is_tried_at_several_settings(peer: Peer) -> None:
    for cpus in (1, 2, 16):
        settings = peer.settings(cpus)
        assert any(one.workers * one.threads == cpus for one in settings)
