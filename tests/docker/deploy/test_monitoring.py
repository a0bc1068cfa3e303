"""Dashboards and alert rules: every metric exists, promtool parses and tests the rules, the page about them is whole.

And once with an engine: Prometheus from the compose profile sees its targets, and a rule fires for a stopped service.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml
from tests.docker.stacks import Stack, names, started, until
from tests.needs import program, require
from tests.popbox import ROOT

from mailhost.accounts import exposed
from mailhost.accounts.governed import Governed
from mailhost.pop3.server.metrics import Counters, machine
from mailhost.system import expiry

FOLDER = ROOT / "images/deploy/monitoring"
DASHBOARDS = sorted((FOLDER / "dashboards").glob("*.json"))
METRIC = re.compile(r"\bpopbox_[a-z0-9_]+")
SUFFIXES = ("_bucket", "_sum", "_count")
AT = "2026-11-28T15:00:00Z"


def maillog() -> ModuleType:
    """The program that makes the page on 9125, as a module."""
    spec = importlib.util.spec_from_file_location("maillog", ROOT / "images/mailhost/maillog.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The families of all three pages, from the code that writes them, in a home that has everything."""
    import trustme

    from popbox.journey.store import Store
    from popbox.serve.watch.ends import Ends
    from popbox.serve.watch.metrics import Counts, text

    home = tmp_path_factory.mktemp("home")
    for name in ("queue", "popboxes", "users", "control", "alias"):
        (home / name).mkdir()
    chain = home / "chain.pem"
    chain.write_bytes(trustme.CA().issue_cert("mx").cert_chain_pems[0].bytes())
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(expiry, "CHAIN", chain)
        pages = exposed.text(home, Governed("accounts.toml", at=AT), 1.0)
    pages += maillog().Counters().page(home / "queue").decode()
    pages += (Counters().render() + machine(home, chain, chain)).decode()
    state = SimpleNamespace(whole_since=1.0, error="", ended_at=1.0, failed=0)
    with Store.in_memory() as store:
        live = SimpleNamespace(store=store, state=state, news=SimpleNamespace(open=0))
        pages += text(live, SimpleNamespace(open=0), Counts(store), Ends(store))  # type: ignore[arg-type]
    return {re.match(r"# TYPE (\S+)", line)[1] for line in pages.splitlines() if line.startswith("# TYPE")}  # type: ignore[index]


def family(sample: str, exported: set[str]) -> str:
    """The family of a sample: a histogram has three names."""
    short = next((sample.removesuffix(one) for one in SUFFIXES if sample.endswith(one)), sample)
    return short if short in exported else sample


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def board(path: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(path.read_text())
    return read


def expressions(path: Path) -> Iterator[tuple[str, str]]:
    """Panel and expression, without Grafana's own variables."""
    for panel in board(path)["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$__rate_interval", "1m")


def promtool(*argv: str) -> None:
    done = subprocess.run([program("promtool"), *argv], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_fire_when_they_should_and_not_otherwise() -> None:
    promtool("check", "config", str(FOLDER / "prometheus.yaml"))
    promtool("test", "rules", str(FOLDER / "alerts.test.yaml"))


def test_each_alert_is_tested_both_ways_and_has_its_place_in_the_page() -> None:
    wanted = {rule["alert"] for rule in rules()}
    tested = yaml.safe_load((FOLDER / "alerts.test.yaml").read_text())["tests"]
    asked = [one for test in tested for one in test["alert_rule_test"]]
    assert {one["alertname"] for one in asked if one["exp_alerts"]} == wanted, "it fires in no test"
    quiet = {one["alertname"] for one in asked if not one["exp_alerts"]}
    assert wanted - quiet == {"PopboxVolumeFull", "PopboxVolumeReadOnly"}, "of these a neighbour is quiet"
    page = (FOLDER / "README.md").read_text()
    assert set(re.findall(r"(?m)^\| `(Popbox\w+)` \|", page)) == wanted
    said = {name for path in DASHBOARDS for name in re.findall(r"Popbox\w+", path.read_text())}
    assert said <= wanted


def test_each_metric_of_a_rule_or_a_panel_exists_and_the_page_names_all_of_them(exported: set[str]) -> None:
    said = [(rule["alert"], rule["expr"]) for rule in rules()]
    said += [one for path in DASHBOARDS for one in expressions(path)]
    named = [(where, family(one, exported)) for where, text in said for one in METRIC.findall(text)]
    assert [one for one in named if one[1] not in exported] == []
    table = (FOLDER / "README.md").read_text().partition("## The metrics")[2]
    assert {one for one in METRIC.findall(table) if not one.endswith("_")} == exported


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_whole(path: Path, tmp_path: Path) -> None:
    dashboard = board(path)
    panels = dashboard["panels"]
    assert (dashboard["uid"], dashboard["schemaVersion"] >= 30) == (path.stem, True)
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["title"]
        assert panel["description"], panel["title"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert apart or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"], (one, other)
    recorded = [{"record": f"x:{number}", "expr": text} for number, (_, text) in enumerate(expressions(path))]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "x", "rules": recorded}]}))
    promtool("check", "rules", str(file))


def test_a_metric_that_is_gone_and_an_expression_that_is_none_are_found(exported: set[str], tmp_path: Path) -> None:
    """The checks above can fail."""
    assert family("popbox_delivery_seconds_bucket", exported) == "popbox_delivery_seconds"
    assert family("popbox_queue_dept", exported) not in exported
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "x", "rules": [{"record": "x", "expr": "sum(up"}]}]}))
    with pytest.raises(AssertionError, match="unclosed"):
        promtool("check", "rules", str(file))


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    require("host docker")
    with names():
        yield from started(
            "standin", COMPOSE_PROFILES="standin,console,monitoring",
            POPBOX_CONSOLE_PORT="127.0.0.1::8025", POPBOX_PROMETHEUS_PORT="127.0.0.1::9090",
        )  # fmt: skip


def prometheus(stack: Stack, path: str) -> Any:
    where = stack.compose("port", "monitoring", "9090").strip()
    with urllib.request.urlopen(f"http://{where}/api/v1/{path}", timeout=20) as answer:
        return json.load(answer)["data"]


def values(stack: Stack, query: str) -> dict[str, float]:
    """Job, or volume -> value."""
    found = prometheus(stack, "query?" + urllib.parse.urlencode({"query": query}))["result"]
    return {one["metric"].get("volume", one["metric"].get("job", "")): float(one["value"][1]) for one in found}


def raised(stack: Stack) -> set[str]:
    """Alerts that fire, or do so when their time is over: promtool has tested that, and CI need not wait for it."""
    return {one["labels"]["alertname"] for one in prometheus(stack, "alerts")["alerts"]}


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_prometheus_sees_all_pages_and_a_rule_fires_for_a_stopped_service(stack: Stack) -> None:
    until(lambda: values(stack, "max by (job) (up)") == {"smtp": 1, "pop3": 1, "console": 1}, "three targets", 120)
    six = {"control", "users", "alias", "queue", "popboxes", "log"}
    until(lambda: set(values(stack, 'popbox_volume_size_bytes{job="smtp"}')) == six, "the gauges of `mailhost follow`")
    assert values(stack, "popbox_accounts_governed") == {"smtp": 0}
    assert not {rule["health"] for group in prometheus(stack, "rules")["groups"] for rule in group["rules"]} - {"ok"}
    scraped = {name for name in prometheus(stack, "label/__name__/values") if name.startswith("popbox_")}
    assert {"popbox_queue_depth", "popbox_pop3_logins_total", "popbox_recorder_up"} <= scraped
    assert "PopboxServiceGone" not in raised(stack)
    stack.compose("stop", "pop3")
    until(lambda: "PopboxServiceGone" in raised(stack), "the alert", 240)
    stack.compose("start", "pop3")
    until(lambda: "PopboxServiceGone" not in raised(stack), "its end", 120)
