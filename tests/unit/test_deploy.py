"""What is in deploy/ for Prometheus and Grafana: it is valid, its alerts fire when they should, and each has a runbook."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana"
RUNBOOK = ROOT / "docs" / "observability.md"


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("promtool") is None:
        pytest.fail("promtool is missing, which checks the rules: install it (Debian: apt install prometheus)", pytrace=False)
    return subprocess.run(["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False)


def alerts() -> list[dict[str, Any]]:
    rules = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())
    return [rule for group in rules["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("arguments", [("check", "config", "prometheus.yml"), ("check", "rules", "alerts.yml")], ids=" ".join)
def test_prometheus_takes_the_configuration_and_the_rules(arguments):
    checked = promtool(*arguments)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_alerts_fire_when_they_should_and_are_silent_otherwise():
    tested = promtool("test", "rules", "alerts_test.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_each_alert_is_seen_to_fire_and_to_be_silent():
    cases = [
        case for test in yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"] for case in test["alert_rule_test"]
    ]
    names = {rule["alert"] for rule in alerts()}
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == names
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == names


def test_each_alert_says_what_to_do_in_the_runbook():
    headings = {
        re.sub(r"[^a-z0-9-]", "", line.strip("# ").lower().replace(" ", "-"))
        for line in RUNBOOK.read_text().splitlines()
        if line.startswith("#")
    }
    for rule in alerts():
        page, _, heading = rule["annotations"]["runbook"].partition("#")
        assert (ROOT / page, heading) == (RUNBOOK, rule["alert"].lower())
        assert heading in headings
        assert rule["labels"]["severity"] in {"critical", "warning"}


def test_the_dashboard_is_one_that_grafana_can_lay_out():
    [file] = (GRAFANA / "dashboards").glob("*.json")
    dashboard = json.loads(file.read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken, f"{panel['title']} lies on another panel"
        assert max(x for x, _ in cells) < 24, f"{panel['title']} is beyond the edge"
        taken |= cells
        assert all(target["expr"] for target in panel.get("targets", []))
        assert panel["type"] == "row" or panel["targets"], panel["title"]


def test_grafana_is_provisioned_with_a_source_and_with_the_folder_of_the_dashboards():
    [source] = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    [provider] = yaml.safe_load((GRAFANA / "provisioning/dashboards/flinkrec.yml").read_text())["providers"]
    assert provider["options"]["path"]
