"""The queries that scale the mesh, and the alerts, as promtool takes them."""

import re
from pathlib import Path
from typing import Any

import yaml

COMPONENTS = Path(__file__).resolve().parents[2] / "deploy" / "k8s" / "components"

NAMESPACE = "searchmesh"


def adapter_queries() -> dict[str, str]:
    """Each rule of the Prometheus adapter by its metric's name, filled in as the adapter does it
    for all pods of a namespace."""
    rules = yaml.safe_load((COMPONENTS / "autoscaling" / "adapter-rules.yaml").read_text())
    return {rule["name"]["as"]: _filled_in(rule) for rule in rules["rules"]["custom"]}


def keda_queries() -> dict[str, str]:
    """The query of each trigger of KEDA, by the trigger's name."""
    scaled = [
        yaml.safe_load((COMPONENTS / "autoscaling-keda" / f"{service}.yaml").read_text())
        for service in ("encoder", "search")
    ]
    return {
        trigger["name"]: trigger["metadata"]["query"]
        for one in scaled
        for trigger in one["spec"]["triggers"]
    }


def alert_groups() -> Any:
    """The groups of rules that the Prometheus operator gets."""
    return yaml.safe_load((COMPONENTS / "monitoring" / "alerts.yaml").read_text())["spec"]["groups"]


def _filled_in(rule: dict[str, Any]) -> str:
    series = re.split("[{]", rule["seriesQuery"])[0]
    return (
        str(rule["metricsQuery"])
        .replace("<<.Series>>", series)
        .replace("<<.LabelMatchers>>", f'namespace="{NAMESPACE}",pod=~"a|b"')
        .replace("<<.GroupBy>>", "namespace, pod")
    )
