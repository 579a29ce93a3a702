"""The job under a real Prometheus: what dashboard and rules ask for is there; its log; and what `flinkrec status` says of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.stack import Stack
from cli.stack.ports import free_ports
from models.topics import EVENTS, RECOMMENDATIONS, topic_name
from tests.e2e import running
from tests.e2e.answered import DIRT
from tests.e2e.running import flinkrec

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
REFUSED = dict.fromkeys([*DIRT, "duplicate", "empty"], 1)
# what is there only after something has gone wrong, or in a process that this test does not start
NOT_OF_THIS_JOB = re.compile(r"flinkrec_http_.*")
NAME = re.compile(r"\b(?:flink|flinkrec)_[A-Za-z0-9_]+")


def expressions() -> list[str]:
    """All PromQL of the dashboard and of the rules, with the dashboard's variables filled in."""
    found = []
    for file in (DEPLOY / "grafana" / "dashboards").glob("*.json"):
        dashboard = json.loads(file.read_text())
        found += [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
        found += [annotation["expr"] for annotation in dashboard["annotations"]["list"]]
        found += [variable["query"]["query"] for variable in dashboard["templating"]["list"] if variable["type"] == "query"]
    rules = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())
    found += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    return [text.replace("$__rate_interval", "30s").replace("$job", ".*") for text in found]


def selectors() -> set[str]:
    """What dashboard and rules pick by labels, such as one operator's figures."""
    return {found for text in expressions() for found in re.findall(NAME.pattern + r"\{[^{}]*\}", text)}


def names() -> set[str]:
    """Names of the metrics that dashboard and rules ask for."""
    return {name for text in expressions() for name in NAME.findall(text)}


def pages(stack: Stack) -> dict[str, str]:
    """What Flink's processes show Prometheus, by address."""
    ports = [stack.ports.metrics, *(stack.ports.metrics_of(number) for number in range(1, stack.state.taskmanagers + 1))]
    found = {}
    for port in ports:
        with urllib.request.urlopen(f"http://localhost:{port}/metrics", timeout=10) as answer:
            found[f"localhost:{port}"] = answer.read().decode()
    return found


class Prometheus:
    """A running Prometheus."""

    def __init__(self, port: int) -> None:
        self._url = f"http://localhost:{port}"

    def get(self, path: str, **parameters: str) -> Any:
        with urllib.request.urlopen(f"{self._url}{path}?{urllib.parse.urlencode(parameters)}", timeout=10) as answer:
            return json.load(answer)["data"]

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._url}/-/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an expression now; an error where it is none."""
        return self.get("/api/v1/query", query=expression)["result"]

    def value(self, expression: str) -> float | None:
        """The value of an expression of one series, None where it has none."""
        found = self.query(expression)
        return float(found[0]["value"][1]) if found else None


@pytest.fixture(scope="module")
def prometheus(stack: Stack, run: running.Configuration, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus with the project's configuration, on this stack's ports."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.fail("prometheus is missing, which this test runs: install it (Debian: apt install prometheus)", pytrace=False)
    folder = tmp_path_factory.mktemp("prometheus")
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    config["global"]["evaluation_interval"] = "1s"
    config["rule_files"] = [str(DEPLOY / "prometheus" / file) for file in config["rule_files"]]
    [flink] = [scrape for scrape in config["scrape_configs"] if scrape["job_name"] == "flink"]
    assert len(flink["static_configs"][0]["targets"]) == 1 + stack.state.taskmanagers, "a page for each process of the default stack"
    flink["static_configs"][0]["targets"] = list(pages(stack))
    config["scrape_configs"] = [flink]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_ports().kafka
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=localhost:{port}",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        running_one = Prometheus(port)
        running.await_true(running_one.is_ready, "Prometheus is not ready")
        running.await_true(
            lambda: len(running_one.query("up == 1")) == 1 + stack.state.taskmanagers, "Prometheus does not reach every process"
        )
        yield running_one
    finally:
        process.terminate()
        process.wait(20)


def test_every_metric_that_dashboard_and_rules_name_is_exported(stack: Stack, run: running.Configuration) -> None:
    asked = {name for name in names() if not NOT_OF_THIS_JOB.fullmatch(name)}
    assert len(asked) > 30

    def missing() -> set[str]:
        shown = {line.partition("{")[0] for page in pages(stack).values() for line in page.splitlines() if not line.startswith("#")}
        return asked - shown

    running.await_true(lambda: not missing(), f"not exported: {sorted(missing())}")


def test_every_expression_is_one_that_prometheus_can_evaluate(prometheus: Prometheus) -> None:
    for expression in expressions():
        if not expression.startswith("label_values("):
            prometheus.query(expression)


def test_whatever_dashboard_and_rules_pick_by_labels_is_there(prometheus: Prometheus) -> None:
    assert any("events_source" in selector for selector in selectors())

    def missing() -> list[str]:
        return [one for one in selectors() if not NOT_OF_THIS_JOB.match(one) and not prometheus.query(one)]

    running.await_true(lambda: not missing(), f"nothing is picked by {missing()}")


T = "flink_taskmanager_job_task_operator_flinkrec_"


def test_what_was_counted_is_what_happened(
    prometheus: Prometheus, run: running.Configuration, stream: list[running.Event]
) -> None:
    happened = {
        f'sum({T}refused_reason_total{{reason="not_json"}})': 1,
        f"sum({T}events_type_total)": len(stream),
        f"sum({T}slates_total)": len(running.values(run, RECOMMENDATIONS)),
        f'sum({T}latency_ms_le_bucket{{le="+Inf"}})': len(stream),
        f"sum({T}latency_ms_count)": len(stream),
        f'sum({T}learned_total{{operator_name="CO-OCCURRENCE"}})': len(stream),
    }
    counted: dict[str, float | None] = {}

    def agrees() -> bool:
        counted.update({expression: prometheus.value(expression) for expression in happened})
        return counted == happened

    running.await_true(agrees, f"expected {happened}, the last that was counted is {counted}")


def test_quantiles_of_latency_and_lag_and_ages_are_numbers_that_can_be(prometheus: Prometheus) -> None:
    # of all since the start: the stream may be over before Prometheus looks the first time
    latency_ms, lag_ms = (f"histogram_quantile(0.99, sum by (le) ({T}{name}_le_bucket))" for name in ("latency_ms", "replica_lag_ms"))
    age_s = f'time() - max({T}model_published_ms_part_value{{part="ranker"}}) / 1000'
    decisions = f"sum({T}gate_decisions_verdict_total)"
    found: dict[str, float | None] = {}

    def known() -> bool:
        found.update({expression: prometheus.value(expression) for expression in (latency_ms, lag_ms, age_s, decisions)})
        return None not in found.values()

    running.await_true(known, f"not all are known: {found}")
    assert 0 < (found[latency_ms] or 0) < 60_000
    assert 0 < (found[lag_ms] or 0) < 60_000
    assert 0 <= (found[age_s] or 0) < 3_600
    assert (found[decisions] or 0) > 0


def test_a_healthy_job_raises_no_alert(prometheus: Prometheus, run: running.Configuration) -> None:
    def evaluated() -> bool:
        groups = prometheus.get("/api/v1/rules")["groups"]
        return all(rule["health"] == "ok" for group in groups for rule in group["rules"])

    running.await_true(evaluated, "not all rules were evaluated")
    firing = [alert["labels"]["alertname"] for alert in prometheus.get("/api/v1/alerts")["alerts"] if alert["state"] == "firing"]
    assert firing == []


def test_the_job_logs_json_lines_with_the_place_of_what_it_refused(stack: Stack, run: running.Configuration) -> None:
    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for file in stack.home.logs.glob("taskmanager-*.jsonl") for line in file.read_text().splitlines()]

    topic = topic_name(run.kafka.topic_prefix, EVENTS)
    running.await_true(lambda: any(line.get("topic") == topic for line in lines()), "the refusal is not in the log")
    refused_lines = [line for line in lines() if line.get("topic") == topic]
    assert {line["reason"] for line in refused_lines} == REFUSED.keys(), "one line of each kind"
    [refused] = [line for line in refused_lines if line["reason"] == "not_json"]
    assert (refused["message"], refused["reason"], refused["user_id"]) == ("record refused", "not_json", "user-1")
    assert refused["partition"] == 0
    assert any(line["message"] == "replica filled" for line in lines())


def test_status_says_in_words_and_in_json_how_the_job_does(
    stack: Stack, run: running.Configuration, stream: list[running.Event]
) -> None:
    config = stack.home.root / "status.yaml"
    config.write_text(json.dumps({"kafka": {"topic_prefix": run.kafka.topic_prefix}, "metrics": {}}))

    def answered() -> bool:
        # Flink's REST interface keeps metrics for ten seconds
        found = json.loads(flinkrec(stack.home, "status", "--json", "--config", str(config)).stdout)
        return bool(found["job"] and found["job"]["answered"] == len(stream))

    running.await_true(answered, "status does not count the events that were answered")
    said = flinkrec(stack.home, "status", "--json", "--config", str(config))
    found = json.loads(said.stdout)

    assert (said.returncode, found["standing"], found["problems"]) == (0, "well", [])
    assert found["job"]["state"] == "RUNNING"
    assert found["job"]["refused"] == REFUSED
    assert found["job"]["waiting"] == 0
    assert found["job"]["checkpoint"]["age_s"] < 60
    assert found["job"]["model_age_s"] < 3_600
    assert found["answers"]["latency_p50_ms"] <= found["answers"]["latency_p99_ms"]
    assert found["answers"]["versions"]["ranker"]
    shown = flinkrec(stack.home, "status", "--config", str(config))
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert shown.stdout.startswith("All is well.")
    assert "1 not_json" in shown.stdout
    assert found["job"]["id"] in shown.stdout
    assert len(shown.stdout.splitlines()) <= 24, "it fits on one screen"
    by_address = flinkrec(
        stack.home.__class__(stack.home.root / "elsewhere", stack.home.jars),
        *("status", "--json", "--bootstrap-servers", stack.bootstrap_servers),
        *("--jobmanager", stack.jobmanager, "--topic-prefix", run.kafka.topic_prefix),
    )
    assert by_address.returncode == 0, by_address.stdout + by_address.stderr


def test_status_of_a_job_that_was_cancelled_is_that_it_does_not_run(stack: Stack, run: running.Configuration) -> None:
    running.cluster(run).cancel(running.cluster(run).running_jobs(run.flink.job_name)[0])
    shown = flinkrec(stack.home, "status")
    assert shown.returncode == 1
    assert shown.stdout.startswith("The job does not run.")
    assert "the job is CANCELED" in shown.stdout
