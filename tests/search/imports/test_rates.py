from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from searchmesh_search.imports.rates import Rates
from searchmesh_search.journal import Journal
from searchmesh_search.metrics import ImportMetrics


def test_a_rate_is_that_of_the_last_ten_seconds() -> None:
    rates = Rates(Journal("sqlite:///unused"), ImportMetrics(CollectorRegistry()))
    assert rates.documents_per_second("a") == 0
    for second in range(30):
        done = 5 * second if second < 15 else 75 + 20 * (second - 15)
        rates.see({"a": done}, 100.0 + second)
    assert rates.documents_per_second("a") == pytest.approx(20)
    rates.see({}, 131.0)
    assert rates.documents_per_second("a") == 0
