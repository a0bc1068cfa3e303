"""Which engine is talked to, and whether the ports that it publishes can be reached: a reason, or an address."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from popbox.errors import ConnectionFailed, HostError
from popbox.hosts.choose import Choice, choose
from popbox.hosts.docker import DockerHost, unavailable
from popbox.hosts.docker import engine as asked
from popbox.hosts.docker.endpoint import beside_us, client, endpoint, reached_at
from popbox.hosts.docker.removal import of_run
from popbox.hosts.state import Process, Record, Registry
from popbox.settings import Settings

PATH = {"PATH": os.environ.get("PATH", os.defpath)}
HERE = {
    "Id": "here",
    "Name": "/shop-smtp-1",
    "HostConfig": {"NetworkMode": "bridge"},
    "NetworkSettings": {"Ports": {}},
    "State": {"Running": True, "Restarting": False},
    "Config": {
        "Labels": {"com.docker.compose.project": "shop", "org.opencontainers.image.title": "popbox/standin"},
    },
}
PODMAN = {"ApiVersion": "1.41", "Components": [{"Name": "Podman Engine", "Version": "5.0"}]}


class Engine(BaseHTTPRequestHandler):
    """One that answers the two questions that every client begins with, and has a container that is just removed."""

    said: dict[str, object] = PODMAN
    wrong: tuple[str, int, bytes] = ("/nothing", 200, b"")
    """How a path ends that is answered with this status and body."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        body = json.dumps(self.said).encode() if path.endswith("/version") else b"OK"
        if path.endswith("/info"):
            time.sleep(0.3)  # longer than the client waits that asks for it
        if path.endswith(("/networks", "/volumes")):
            body = b"[]" if path.endswith("/networks") else b"{}"
        elif path.endswith("/containers/json"):
            body = b'[{"Id": "gone"}, {"Id": "here"}]'
        elif "/containers/" in path:
            body = json.dumps(HERE if "/here/" in path else {"message": "No such container: gone"}).encode()
        elif "/broken/" in path:
            body = b'{"message": "no space left"}'
        status = 404 if "/gone/" in path else 500 if "/broken/" in path else 200
        if path.endswith(self.wrong[0]):
            _, status, body = self.wrong
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def engine() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Engine) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"tcp://127.0.0.1:{server.server_port}"
        server.shutdown()


def context(config: Path, host: str) -> dict[str, str]:
    """A shell in whose docker configuration a context of that engine is in use."""
    folder = config / "contexts/meta" / hashlib.sha256(b"far").hexdigest()
    folder.mkdir(parents=True)
    (config / "config.json").write_text('{"currentContext": "far"}')
    endpoints = {"docker": {"Host": host, "SkipTLSVerify": False}}
    (folder / "meta.json").write_text(json.dumps({"Name": "far", "Metadata": {}, "Endpoints": endpoints}))
    return {**PATH, "DOCKER_CONFIG": str(config)}


@pytest.mark.needs("docker client")
def test_the_context_in_use_counts_and_docker_host_outranks_it(tmp_path: Path) -> None:
    environ = context(tmp_path, "unix:///run/user/1000/docker.sock")
    assert endpoint(environ).host == "unix:///run/user/1000/docker.sock"
    assert reached_at(environ) == "127.0.0.1", "rootless: its ports are published here"
    assert endpoint({**environ, "DOCKER_HOST": "tcp://elsewhere:2375"}).host == "tcp://elsewhere:2375"


@pytest.mark.needs("docker client")
def test_an_engine_over_ssh_is_refused_at_once_and_auto_says_why(tmp_path: Path) -> None:
    environ, began = context(tmp_path, "ssh://me@far.example"), time.monotonic()
    why = "the engine is on another machine, ssh://me@far.example, and no way leads from here to ports published there"
    assert unavailable(environ).startswith(why)
    settings = Settings(tmp_path, tmp_path, None, environ)
    with pytest.raises(HostError, match="host docker is not available: the engine is on another machine"):
        choose("docker", "standin", settings)
    chosen = choose("auto", "standin", settings)
    assert (chosen.host, why in chosen.why) == ("local", True), chosen
    assert time.monotonic() - began < 30


def test_an_engine_by_tcp_is_reached_at_the_address_at_which_it_answers(engine: str) -> None:
    assert reached_at({"DOCKER_HOST": engine}) == "127.0.0.1"
    with socket.create_server(("127.0.0.2", 0)) as other:
        assert reached_at({"DOCKER_HOST": f"tcp://127.0.0.2:{other.getsockname()[1]}"}) == "127.0.0.2"
        assert reached_at({"DOCKER_HOST": f"127.0.0.2:{other.getsockname()[1]}"}) == "127.0.0.2", "as docker reads it"
    with pytest.raises(HostError, match=r"the engine does not answer \(Connection refused\): tcp://127.0.0.1:1"):
        reached_at({"DOCKER_HOST": "tcp://127.0.0.1:1"})


@pytest.mark.parametrize(
    ("named", "whole"),
    [
        ("tcp://docker", "tcp://docker:2375"),
        ("docker:2375", "tcp://docker:2375"),
        ("[fd00::1]", "tcp://[fd00::1]:2375"),
        (" unix:///run/docker.sock ", "unix:///run/docker.sock"),
    ],
)
def test_an_address_is_read_as_docker_reads_it(named: str, whole: str) -> None:
    assert endpoint({"DOCKER_HOST": named}).host == whole


@pytest.mark.parametrize(
    "named",
    [
        "npipe:////./pipe/docker_engine",
        "fd://",
        "tcp://",
        "tcp://127.0.0.1:99999",
        "tcp://here:x",
        "tcp://::1:2375",
        "/a.sock",
        "tcp://[::1",
    ],
)
def test_what_is_no_address_is_refused_with_what_one_looks_like(named: str) -> None:
    why = unavailable({**PATH, "DOCKER_HOST": named})
    assert why.endswith(f"{named} is no address of an engine: unix:///PATH is one, or tcp://HOST:PORT")


def test_an_empty_docker_host_names_nothing(tmp_path: Path) -> None:
    environ = {**PATH, "DOCKER_CONFIG": str(tmp_path), "DOCKER_HOST": ""}
    assert endpoint(environ) == endpoint({**PATH, "DOCKER_CONFIG": str(tmp_path)})


@pytest.mark.parametrize("host", ["tcp://127.0.0.1:1", "unix:///nowhere.sock"])
@pytest.mark.parametrize("variable", ["DOCKER_TLS_VERIFY", "DOCKER_TLS"])
def test_tls_without_its_files_is_refused_and_the_file_is_named(host: str, variable: str, tmp_path: Path) -> None:
    environ = {**PATH, "HOME": str(tmp_path), "DOCKER_HOST": host, variable: "1"}
    assert unavailable(environ) == (
        f"{variable} asks for TLS, and {tmp_path}/.docker/ca.pem cannot be read (DOCKER_CERT_PATH names its folder)"
    )
    assert f"{tmp_path}/certs/ca.pem" in unavailable({**environ, "DOCKER_CERT_PATH": f"{tmp_path}/certs"})
    assert f"{tmp_path}/config/ca.pem" in unavailable({**environ, "DOCKER_CONFIG": f"{tmp_path}/config"})


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")  # as DOCKER_TLS wants it
def test_an_engine_with_tls_is_asked_with_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As GitLab's docker:dind has it: a folder with the three files, whatever CA the shell has for other programs."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "other.pem"))
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    ours, names = trustme.CA(), ("ca.pem", "cert.pem", "key.pem")
    pair = ours.issue_cert("127.0.0.1")
    for name, blob in zip(names, (ours.cert_pem, pair.cert_chain_pems[0], pair.private_key_pem), strict=True):
        blob.write_to_path(tmp_path / name)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.verify_mode = ssl.CERT_REQUIRED
    ours.configure_trust(context)
    pair.configure_cert(context)
    with ThreadingHTTPServer(("127.0.0.1", 0), Engine) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        named = {**PATH, "DOCKER_HOST": f"tcp://127.0.0.1:{server.server_port}", "DOCKER_CERT_PATH": str(tmp_path)}
        said = {unavailable({**named, variable: "1"}) for variable in ("DOCKER_TLS_VERIFY", "DOCKER_TLS")}
        server.shutdown()
    assert said == {"what answers is Podman Engine, which has no BuildKit for `docker compose build`"}, "it was asked"


def test_a_name_that_python_does_not_look_up_is_no_engine() -> None:
    why = unavailable({**PATH, "DOCKER_HOST": f"tcp://{'a' * 64}:1"})
    assert why == f"the engine does not answer ({'a' * 64} is no name of a host)"


@pytest.mark.parametrize("said", ["", "null", "[{}]", '[{"Endpoints": {"docker": null}}]', "\\377"])
def test_a_context_without_an_engine_is_named(said: str, tmp_path: Path) -> None:
    (tmp_path / "docker").write_text(f"#!/bin/sh\nprintf '{said}'\n")
    (tmp_path / "docker").chmod(0o755)
    why = unavailable({"PATH": f"{tmp_path}:{PATH['PATH']}"})
    assert why == "`docker context inspect` names no engine: the context in use has no endpoint of docker"


@pytest.mark.parametrize("said", [{}, [], "x", None, {"ApiVersion": "x.y"}])
def test_what_answers_as_no_engine_does_is_called_so(
    engine: str, said: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Engine, "said", said)
    why = unavailable({**PATH, "DOCKER_HOST": engine})
    assert why == f"the engine cannot be asked (what answers is no engine): {engine}"


@pytest.mark.docker
@pytest.mark.needs("host docker")
def test_what_the_program_docker_cannot_do_with_its_settings_is_its_own_words() -> None:
    why = unavailable({**os.environ, "DOCKER_API_VERSION": "9.99"})
    assert why.startswith("`docker compose ls`: Error response from daemon: client version 9.99 is too new")


def test_podman_is_refused_at_once(engine: str, tmp_path: Path) -> None:
    environ = {**PATH, "DOCKER_HOST": engine}
    assert unavailable(environ) == "what answers is Podman Engine, which has no BuildKit for `docker compose build`"
    chosen = choose("auto", "auto", Settings(tmp_path, tmp_path, None, environ))
    assert chosen == Choice("local", "stand-in", f"no Docker engine: {unavailable(environ)}")


def test_an_engine_that_is_slow_or_fails_is_told_of_in_words(engine: str, tmp_path: Path) -> None:
    asking = client({"DOCKER_HOST": engine})
    with pytest.raises(HostError, match=r"^the engine fails at /v[0-9.]+/images/broken/json: no space left$"):
        asking.images.get("broken")
    asking.api.timeout = 0.05
    with pytest.raises(HostError, match=rf"^the engine does not answer within 0.05 s: {engine}$"):
        asking.info()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        named = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(HostError, match=rf"^the engine does not answer within 0.05 s: {named}$"):
            client({"DOCKER_HOST": named}, 0.05)
    gone = f"unix://{tmp_path}/gone.sock"
    with pytest.raises(HostError, match=rf"^the engine does not answer \(No such file or directory\): {gone}$"):
        client({"DOCKER_HOST": gone})


LIST, INSPECT = "/containers/json", "/containers/here/json"
REFUSALS = [(LIST, 404), (LIST, 409), (LIST, 500), (INSPECT, 409), (INSPECT, 403), (INSPECT, 500)]
NO_ANSWERS = [b'{"Id": "ab', b"<html>hi", b"null", b'"x"', b"7", b""]


def test_an_answer_that_no_question_has_is_the_engines_and_not_a_failed_run(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = client({"DOCKER_HOST": engine})
    told = rf"^the engine (refuses|fails at) /v[0-9.]+({LIST}|{INSPECT}): no$"
    wrong = [(path, status, b'{"message": "no"}', told) for path, status in REFUSALS]
    wrong += [(path, 200, body, "what answers is no engine") for path in (LIST, INSPECT) for body in NO_ANSWERS]
    for path, status, body, why in [*wrong, (INSPECT, 200, b"{}", "what answers is no engine")]:
        monkeypatch.setattr(Engine, "wrong", (path, status, body))
        with pytest.raises(HostError, match=why):
            of_run(asking, "0123abcd")


def test_a_container_that_vanishes_while_it_is_looked_at_is_left_out(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {**PATH, "DOCKER_HOST": engine}
    monkeypatch.setattr("popbox.hosts.docker.engine.unavailable", lambda _environ: "")
    monkeypatch.setattr("popbox.hosts.docker.endpoint.CONTAINER", re.compile("(.)"))
    assert asked.projects(environ) == {"shop": "stand-in"}
    assert "shop-smtp-1" in beside_us(client(environ))
    assert [one.name for one in of_run(client(environ), "0123abcd")] == ["shop-smtp-1"]
    record = Record("0123abcd", "docker", "stand-in", "shop", Process(1, 1))
    host = DockerHost(Registry(tmp_path), record, Settings(tmp_path, tmp_path, None, environ))
    with pytest.raises(ConnectionFailed, match="its container is"):
        host.address("smtp")
