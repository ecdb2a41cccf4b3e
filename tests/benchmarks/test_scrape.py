from __future__ import annotations

import math

from encoder.scrape import parsed

_BEFORE = """\
# TYPE encoder_tokens_total counter
encoder_tokens_total{lane="bulk",model="a"} 100.0
encoder_batch_items_sum{model="a"} 8.0
encoder_batch_items_count{model="a"} 4.0
"""
_AFTER = """\
encoder_tokens_total{lane="bulk",model="a"} 150.0
encoder_tokens_total{lane="query",model="a"} 7.0
encoder_batch_items_sum{model="a"} 1.4e+01
encoder_batch_items_count{model="a"} 6.0
"""


def test_a_block_is_told_by_what_series_grew_by() -> None:
    change = parsed(_AFTER).since(parsed(_BEFORE))
    assert change.sum("encoder_tokens_total") == 57
    assert change.sum("encoder_tokens_total", lane="bulk") == 50
    # a series that is new began at 0
    assert change.sum("encoder_tokens_total", lane="query", model="a") == 7
    assert change.mean("encoder_batch_items") == 3


def test_a_mean_of_nothing_is_not_a_number() -> None:
    assert math.isnan(parsed(_AFTER).since(parsed(_AFTER)).mean("encoder_batch_items"))
