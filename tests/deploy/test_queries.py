"""The queries that scale the mesh, and the alerts, held to examples by promtool.

Series are written as promtool takes them: `0+30x20` begins at 0 and grows by 30 a scrape, 20 times.
A scrape is 15 s apart.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from validate_deploy import TOOLS

from searchmesh_common.metrics import CallMetrics, new_registry
from searchmesh_encoder.metrics import EncoderMetrics
from searchmesh_encoder.work import Lane
from searchmesh_search.metrics import ImportMetrics, SearchMetrics
from tests.deploy.queries import NAMESPACE, adapter_queries, alert_groups, keda_queries

SCRAPE = "15s"
METRIC = re.compile(r"\b(?:grpc_server|encoder|search)_\w+(?=[\[{)])")


def series(name: str, pod: str, values: str, **labels: str) -> dict[str, str]:
    labels = {"namespace": NAMESPACE, "pod": pod, **labels}
    given = ",".join(f"{label}={json.dumps(value)}" for label, value in labels.items())
    return {"series": f"{name}{{{given}}}", "values": values}


def queue(pod: str, lane: str, a_scrape: int, model: str = "minilm") -> dict[str, str]:
    """A pod in which contents waited for so many seconds between two scrapes, together."""
    values = f"0+{a_scrape}x20"
    return series("encoder_queue_seconds_sum", pod, values, lane=lane, model=model)


def calls(pod: str, grpc_type: str, open_: int, method: str = "Search") -> list[dict[str, str]]:
    """A pod that began and ended 100 calls a scrape, and in which so many are open all the time."""
    labels = {
        "grpc_service": "searchmesh.search.v1.SearchService",
        "grpc_type": grpc_type,
        "grpc_method": method,
    }
    return [
        series("grpc_server_started_total", pod, f"{open_}+100x20", **labels),
        series("grpc_server_handled_total", pod, "0+90x20", grpc_code="OK", **labels),
        series("grpc_server_handled_total", pod, "0+10x20", grpc_code="NotFound", **labels),
    ]


QUEUES = [
    queue("a", "query", 30),
    queue("a", "query", 15, model="minilm-int8"),
    queue("b", "query", 60),
    queue("a", "bulk", 7500),
    queue("b", "bulk", 0),
]
CALLS = [
    *calls("a", "unary", 20),
    *calls("a", "unary", 4, method="Recommend"),
    *calls("a", "bidi_stream", 50, method="Watch"),
    *calls("b", "unary", 6),
    series("grpc_server_started_total", "a", "0+9x20", grpc_type="unary", grpc_service="other"),
]


def promtool(folder: Path, test: dict[str, Any], groups: Any = ()) -> None:
    """Fails where promtool does."""
    command = shutil.which("promtool", path=f"{TOOLS}/usr/bin:{os.environ['PATH']}")
    if command is None:
        pytest.skip("no promtool here; see `make deploy-tools`")
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": list(groups)}))
    (folder / "test.yaml").write_text(
        yaml.safe_dump(
            {
                "rule_files": ["rules.yaml"],
                "evaluation_interval": SCRAPE,
                "tests": [{"interval": SCRAPE, **test}],
            }
        )
    )
    done = subprocess.run(
        [command, "test", "rules", str(folder / "test.yaml")],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def answers(query: str, samples: dict[str, float]) -> dict[str, Any]:
    """A query after four minutes. samples: labels as Prometheus writes them -> value."""
    expected = [{"labels": labels, "value": value} for labels, value in samples.items()]
    return {"expr": query, "eval_time": "4m", "exp_samples": expected}


def of_pods(**values: float) -> dict[str, float]:
    return {f'{{namespace="{NAMESPACE}", pod="{pod}"}}': value for pod, value in values.items()}


@pytest.mark.parametrize(
    ("metric", "scraped", "expected"),
    [
        ("encoder_query_queue_length", QUEUES, of_pods(a=3, b=4)),
        ("encoder_bulk_queue_length", QUEUES, of_pods(a=500, b=0)),
        ("search_calls_in_flight", CALLS, of_pods(a=24, b=6)),
    ],
)
def test_the_adapter_tells_a_load_of_each_pod(
    tmp_path: Path, metric: str, scraped: list[dict[str, str]], expected: dict[str, float]
) -> None:
    test = answers(adapter_queries()[metric], expected)
    promtool(tmp_path, {"input_series": scraped, "promql_expr_test": [test]})


@pytest.mark.parametrize(
    ("trigger", "scraped", "expected"),
    [
        ("encoder-query-queue-length", QUEUES, 7),
        ("encoder-bulk-queue-length", QUEUES, 500),
        ("search-calls-in-flight", CALLS, 30),
    ],
)
def test_keda_is_told_the_load_of_all_pods(
    tmp_path: Path, trigger: str, scraped: list[dict[str, str]], expected: float
) -> None:
    test = answers(keda_queries()[trigger], {"{}": expected})
    promtool(tmp_path, {"input_series": scraped, "promql_expr_test": [test]})


def test_every_query_is_held_to_an_example() -> None:
    assert adapter_queries().keys() == {
        "encoder_query_queue_length",
        "encoder_bulk_queue_length",
        "search_calls_in_flight",
    }
    assert {one.replace("-", "_") for one in keda_queries()} == adapter_queries().keys()


def handled(code: str, values: str) -> dict[str, str]:
    service = "searchmesh.search.v1.SearchService"
    return series("grpc_server_handled_total", "a", values, grpc_code=code, grpc_service=service)


def waits(le: str, values: str) -> dict[str, str]:
    return series("encoder_queue_seconds_bucket", "a", values, le=le, lane="query", model="minilm")


ALERTS = {
    "SearchmeshCallsFail": (
        [handled("OK", "0+98x200"), handled("Unavailable", "0+2x200")],
        [handled("OK", "0+98x200"), handled("InvalidArgument", "0+2x200")],
    ),
    "SearchmeshModelNotReady": (
        [series("encoder_model_ready", pod, "0x200", model="minilm") for pod in "ab"],
        [
            series("encoder_model_ready", "a", "0x200", model="minilm"),
            series("encoder_model_ready", "b", "1x200", model="minilm"),
        ],
    ),
    "SearchmeshQueriesWait": (
        [waits("0.1", "0+90x200"), waits("0.5", "0+100x200"), waits("+Inf", "0+100x200")],
        [waits("0.1", "0+100x200"), waits("0.5", "0+100x200"), waits("+Inf", "0+100x200")],
    ),
    "SearchmeshImportsStand": (
        [series("search_import_oldest_batch_seconds", "a", "4000+15x200")],
        [series("search_import_oldest_batch_seconds", "a", "600x200")],
    ),
    "SearchmeshLeaseAges": (
        [series("search_journal_lease_age_seconds", "a", "8x200")],
        [series("search_journal_lease_age_seconds", "a", "4x200")],
    ),
}
"""Alert -> what sets it off, and what does not."""


@pytest.mark.parametrize("alert", ALERTS)
@pytest.mark.parametrize("fires", [True, False])
def test_alerts(tmp_path: Path, alert: str, fires: bool) -> None:
    bad, good = ALERTS[alert]
    firing = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})'
    samples = [{"labels": "{}", "value": 1}] if fires else []
    test = {"expr": firing, "eval_time": "30m", "exp_samples": samples}
    promtool(
        tmp_path,
        {"input_series": bad if fires else good, "promql_expr_test": [test]},
        alert_groups(),
    )


def test_every_alert_is_held_to_examples() -> None:
    assert {rule["alert"] for group in alert_groups() for rule in group["rules"]} == ALERTS.keys()


def test_queries_ask_for_metrics_that_services_have() -> None:
    registries = new_registry("encoder"), new_registry("search")
    EncoderMetrics(registries[0]).of("minilm", Lane.QUERY)
    for metrics in (CallMetrics, SearchMetrics, ImportMetrics):
        metrics(registries[1])
    known = {
        sample
        for registry in registries
        for family in registry.collect()
        for sample in (family.name, *(f"{family.name}_{end}" for end in ("total", "sum", "bucket")))
    }
    asked = " ".join(
        (*adapter_queries().values(), *keda_queries().values(), json.dumps(alert_groups()))
    )
    names = set(METRIC.findall(asked))
    assert "encoder_queue_seconds_sum" in names
    assert names <= known
