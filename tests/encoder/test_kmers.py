"""The encoder and its scheduler know no modality: counts of DNA words go the same way as texts."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from searchmesh_common.errors import InvalidRequest
from searchmesh_encoder.work import Lane

from .encoders import serving
from .kmers import WORDS, KmerModel

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("most", [20, 3000])
async def test_counts_are_exact_alone_and_in_any_company(tmp_path: Path, most: int) -> None:
    rng = random.Random(most)
    sequences = ["".join(rng.choices("ACGT", k=rng.randint(3, most))) for _ in range(60)]
    async with serving(KmerModel(tmp_path), batch_tokens=1000, queue_tokens=10**6) as served:
        outcomes = await asyncio.gather(
            served.outcomes(*sequences[:30]),
            served.outcomes(*sequences[30:], lane=Lane.BULK),
        )
        for sequence, counts in zip(sequences, outcomes[0] + outcomes[1], strict=True):
            expected = Counter(sequence[at : at + 3] for at in range(len(sequence) - 2))
            assert counts.tolist() == [expected[word] for word in WORDS]
        (short,) = await served.outcomes("AC")
        assert isinstance(short, InvalidRequest)
