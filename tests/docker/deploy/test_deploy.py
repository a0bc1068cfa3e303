"""The Swarm stack and the Kubernetes objects agree with compose.yaml and are valid for the API; needs no engine."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
from typing import Any

import kubernetes_validate
import pytest
import yaml
from tests.needs import require
from tests.popbox import ROOT

IMAGES = ROOT / "images"
KUBERNETES = IMAGES / "deploy/kubernetes"
SWARM = IMAGES / "deploy/swarm"
API = "1.29"
SERVICES = ("qmail", "pop3")
Object = dict[str, Any]


@pytest.fixture(scope="module")
def compose() -> Object:
    """compose.yaml as Compose reads it, with the profile qmail."""
    return by_docker("compose", "--profile", "qmail", "config", "--format", "json")


@pytest.fixture(scope="module")
def swarm() -> Object:
    """The Swarm stack with both of its additions, as docker reads it."""
    files = [part for name in ("stack", "tls", "nfs") for part in ("-c", str(SWARM / f"{name}.yaml"))]
    return by_docker("stack", "config", *files)


def test_every_profile_is_valid_and_they_are_all_of_it() -> None:
    everything = by_docker("compose", "--profile", "*", "config", "--format", "json")
    assert set(everything["services"]) == {"qmail", "standin", "pop3", "console", "monitoring"}
    seen = everything["services"]["console"]
    assert {one["target"] for one in seen["volumes"] if not one.get("read_only")} == {"/var/lib/popbox"}
    assert {(one["host_ip"], one["target"]) for one in seen["ports"]} == {("127.0.0.1", 8025)}


def by_docker(*argv: str) -> Object:
    require("docker stack" if argv[0] == "stack" else argv[0])
    needed = {"POPBOX_ACCOUNTS_FILE": "/x", "POPBOX_TLS": "/x", "POPBOX_NFS": "x", "POPBOX_NFS_PATH": "/x"}
    environ = {name: value for name, value in os.environ.items() if not name.startswith("POPBOX_")}
    if argv[0] == "stack":
        environ.update(needed)
    done = subprocess.run(["docker", *argv], cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    read: Object = yaml.safe_load(done.stdout)
    return read


def documents() -> list[Object]:
    """Every Kubernetes object, in the order of kustomization.yaml."""
    names = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())["resources"]
    return [one for name in names for one in yaml.safe_load_all((KUBERNETES / name).read_text())]


def pod(name: str) -> Object:
    found = [
        one for one in documents() if one["kind"] in ("DaemonSet", "Deployment") and one["metadata"]["name"] == name
    ]
    spec: Object = found[0]["spec"]["template"]["spec"]
    return spec


def container(name: str) -> Object:
    (found,) = pod(name)["containers"]
    one: Object = found
    return one


def switches() -> dict[str, str]:
    (generator,) = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())["configMapGenerator"]
    assert generator["name"] == "switches"
    return dict(one.split("=", 1) for one in generator["literals"])


def health_commands(dockerfile: str) -> list[list[str]]:
    lines = re.findall(r"^HEALTHCHECK .* CMD (\[.*\])$", (IMAGES / dockerfile).read_text(), re.MULTILINE)
    return [json.loads(line) for line in lines]


def seconds(text: str) -> int:
    minutes, _, rest = text.rpartition("m")
    return int(minutes or 0) * 60 + int(float(rest.removesuffix("s")))


def mounts(service: Object, kinds: tuple[str, ...] = ("volume",)) -> dict[str, tuple[str, bool]]:
    """Target -> source and whether it is read-only, of the volumes that hold the mail host's state."""
    wanted = (one for one in service["volumes"] if one["type"] in kinds and one["target"].startswith("/var/qmail"))
    return {one["target"]: (one["source"], one.get("read_only", False)) for one in wanted}


def test_every_object_is_taken_by_the_api() -> None:
    objects = documents()
    assert {one["kind"] for one in objects} >= {"Namespace", "DaemonSet", "Deployment", "Service", "NetworkPolicy"}
    for one in objects:
        kubernetes_validate.validate(one, API, strict=True)


@pytest.mark.parametrize(
    "path", ["spec.template.spec.containers.0.securityContext.readOnlyRootFilesystem", "spec.selectr"]
)
def test_a_mistake_is_found(path: str) -> None:
    broken = copy.deepcopy(next(one for one in documents() if one["kind"] == "Deployment"))
    at: Any = broken
    *folders, last = path.split(".")
    for step in folders:
        at = at[int(step) if step.isdigit() else step]
    at[last] = "a word"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, API, strict=True)


def test_kustomize_names_every_file_and_every_image() -> None:
    read = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    assert {*read["resources"], "kustomization.yaml"} == {path.name for path in KUBERNETES.iterdir()}
    assert {one["name"] for one in read["images"]} == {container(name)["image"] for name in SERVICES}


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_the_same(name: str, compose: Object, swarm: Object) -> None:
    assert swarm["services"][name]["image"] == compose["services"][name]["image"] == f"popbox/{name}:local"
    assert container(name)["image"] == f"popbox/{name}"


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_the_same(name: str, compose: Object, swarm: Object) -> None:
    ports = {port["target"] for port in compose["services"][name]["ports"]}
    metrics = {9125, 9110}
    assert {port["target"] for port in swarm["services"][name]["ports"]} == ports - metrics
    assert {port["containerPort"] for port in container(name)["ports"]} == ports
    service = next(one for one in documents() if one["kind"] == "Service" and one["spec"]["selector"] == {"app": name})
    assert {port["targetPort"] for port in service["spec"]["ports"]} == ports - metrics
    side = {"qmail": "smtp", "pop3": "pop"}[name]
    policy = next(one for one in documents() if one["kind"] == "NetworkPolicy" and one["metadata"]["name"] == side)
    assert {port["port"] for port in policy["spec"]["ingress"][0]["ports"]} == ports


@pytest.mark.parametrize("name", SERVICES)
def test_volumes_are_the_same(name: str, compose: Object, swarm: Object) -> None:
    wanted = mounts(compose["services"][name])
    assert mounts(swarm["services"][name]) == wanted
    found = {one["mountPath"]: (one["name"], one.get("readOnly", False)) for one in container(name)["volumeMounts"]}
    state = {path: one for path, one in found.items() if path.startswith("/var/qmail")}
    assert state == wanted
    assert {one["name"] for one in pod(name)["volumes"]} == {source for source, _ in found.values()}
    memory = {path.partition(":")[0] for path in compose["services"][name]["tmpfs"]}
    assert {one["target"] for one in swarm["services"][name]["volumes"] if one["type"] == "tmpfs"} == memory
    assert {path for path in found if path in ("/tmp", "/run")} == memory


@pytest.mark.parametrize("name", SERVICES)
def test_privileges_are_the_same(name: str, compose: Object, swarm: Object) -> None:
    ours, theirs, context = compose["services"][name], swarm["services"][name], container(name)["securityContext"]
    assert ours["read_only"] is theirs["read_only"] is context["readOnlyRootFilesystem"] is True
    assert ours["cap_drop"] == theirs["cap_drop"] == context["capabilities"]["drop"] == ["ALL"]
    kept = sorted(ours.get("cap_add", []))
    assert sorted(theirs.get("cap_add", [])) == sorted(context["capabilities"].get("add", [])) == kept
    no_new = "no-new-privileges:true" in ours.get("security_opt", [])
    assert no_new is not context["allowPrivilegeEscalation"]
    assert pod(name)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    sysctls = {one["name"]: one["value"] for one in pod(name)["securityContext"].get("sysctls", [])}
    assert ours.get("sysctls", {}) == theirs.get("sysctls", {}) == sysctls


def test_uids_are_the_images() -> None:
    dockerfile = (IMAGES / "mailhost/Dockerfile").read_text()
    (made,) = re.findall(r"useradd -M -u (\d+) -g (\d+) -G ([\d,]+) ", dockerfile)
    context = pod("pop3")["securityContext"]
    groups = ",".join(map(str, context["supplementalGroups"]))
    assert (str(context["runAsUser"]), str(context["runAsGroup"]), groups) == made
    assert context["runAsNonRoot"] is True


def test_health_commands_are_the_images() -> None:
    (qmail,), (pop3, *_) = health_commands("qmail/Dockerfile"), health_commands("mailhost/Dockerfile")
    for name, command in (("qmail", qmail), ("pop3", pop3)):
        for probe in ("readinessProbe", "livenessProbe"):
            assert container(name)[probe]["exec"]["command"] == command


@pytest.mark.parametrize("name", SERVICES)
def test_switches_and_the_time_to_stop_are_the_same(name: str, compose: Object, swarm: Object) -> None:
    # Profiles, and with them the console, are Compose's own.
    wanted = {one: to for one, to in compose["services"][name]["environment"].items() if one != "POPBOX_PROFILES"}
    # One difference on purpose: on several machines no one watches a single replica, so its canary is on.
    canary = {"POPBOX_CANARY": "yes"} if "POPBOX_CANARY" in wanted else {}
    # And one of several nodes needs a name, which each orchestrator has.
    node = {"POPBOX_NODE": "{{.Node.Hostname}}"} if "POPBOX_NODE" in wanted else {}
    assert swarm["services"][name]["environment"] == {**wanted, **canary, **node}
    assert {one: switches()[one] for one in wanted if one not in node} == {
        one: value for one, value in {**wanted, **canary}.items() if one not in node
    }
    named = container(name).get("env", [])
    assert {one["name"]: one["valueFrom"]["fieldRef"]["fieldPath"] for one in named} == dict.fromkeys(
        node, "spec.nodeName"
    )
    grace = seconds(compose["services"][name]["stop_grace_period"])
    assert seconds(swarm["services"][name]["stop_grace_period"]) == grace
    assert pod(name)["terminationGracePeriodSeconds"] == grace


def test_an_update_keeps_every_replica_up(swarm: Object) -> None:
    assert swarm["services"]["pop3"]["deploy"]["update_config"]["order"] == "start-first"
    assert swarm["services"]["qmail"]["deploy"]["update_config"]["order"] == "stop-first"
    rolling = {
        one["metadata"]["name"]: one["spec"] for one in documents() if one["kind"] in ("Deployment", "DaemonSet")
    }
    assert rolling["pop3"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert rolling["qmail"]["updateStrategy"]["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 0}


def test_the_sides_share_no_network(swarm: Object) -> None:
    services = swarm["services"]
    assert not set(services["qmail"]["networks"]) & set(services["pop3"]["networks"])
    policy = next(one for one in documents() if one["kind"] == "NetworkPolicy" and one["metadata"]["name"] == "pop")
    assert policy["spec"]["egress"] == []
    assert set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
