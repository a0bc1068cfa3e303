"""Which engine `docker` talks to, and where the ports that it publishes are reached from here.

The docker program knows contexts, the docker library does not: both are told the same engine, the program's.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from docker.models.containers import Container
from docker.tls import TLSConfig

import docker
from popbox.environment import of_docker
from popbox.errors import HostError
from popbox.hosts.docker.api import Client

HERE = "127.0.0.1"
Filters = dict[str, str | list[str] | bool]
ASK_S = 60.0  # our choice: about ten times what a small machine needs
CONNECT_S = 5.0
CONTAINER = re.compile(r"^(?:\S+ ){3}\S*/containers/([0-9a-f]{64})/\S+ /etc/hosts ", re.MULTILINE)
"""In mountinfo(5), where a container's own /etc/hosts comes from; the engine's machine mounts other parts of it."""
DAEMON_HINT = "popbox needs an engine whose published ports it can reach"
NO_ADDRESS = "{} is no address of an engine: unix:///PATH is one, or tcp://HOST:PORT"
TLS_FILES = ("ca.pem", "cert.pem", "key.pem")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An engine's address as docker writes it, and the folder with its TLS files where it has some."""

    host: str
    tls: Path | None = None
    verify: bool = True


def endpoint(environ: Mapping[str, str]) -> Endpoint:
    """The engine that `docker` takes: DOCKER_HOST, DOCKER_CONTEXT, or the context in use.

    An address without a scheme is one of TCP, as docker has it. DOCKER_TLS_VERIFY and DOCKER_TLS ask for TLS, with the
    files in DOCKER_CERT_PATH or, without it, in DOCKER_CONFIG or ``~/.docker``.

    Raises:
        HostError: it is no address, or the context or a file of TLS cannot be read.
    """
    if named := environ.get("DOCKER_HOST", "").strip():
        tls = _tls(environ)
        return Endpoint(_whole(named, 2376 if tls else 2375), tls, bool(environ.get("DOCKER_TLS_VERIFY")))
    asked = ["docker", "context", "inspect"]
    try:
        done = subprocess.run(asked, env=of_docker(environ), capture_output=True, check=False, timeout=ASK_S)
    except FileNotFoundError:
        raise HostError("the program `docker` is not installed") from None
    except subprocess.TimeoutExpired:
        raise HostError(f"`{' '.join(asked)}` did not end within {ASK_S:.0f} s") from None
    if done.returncode:
        raise HostError(f"`{' '.join(asked)}`: {done.stderr.decode(errors='replace').strip()}")
    try:
        return _of_context(json.loads(done.stdout))
    except (ValueError, LookupError, TypeError):  # a context of Kubernetes alone, or another program of that name
        raise HostError(f"`{' '.join(asked)}` names no engine: the context in use has no endpoint of docker") from None


def _of_context(said: Any) -> Endpoint:
    (context,) = said
    found: dict[str, Any] = context["Endpoints"]["docker"]
    has_tls = bool(context.get("TLSMaterial", {}).get("docker"))
    return Endpoint(
        found["Host"],
        Path(context["Storage"]["TLSPath"], "docker") if has_tls else None,
        not found.get("SkipTLSVerify"),
    )


def _tls(environ: Mapping[str, str]) -> Path | None:
    """The folder with the files of TLS, where the variables ask for it."""
    if not (environ.get("DOCKER_TLS_VERIFY") or environ.get("DOCKER_TLS")):
        return None
    config = environ.get("DOCKER_CONFIG") or Path(environ.get("HOME", "/"), ".docker")
    folder = Path(environ.get("DOCKER_CERT_PATH") or config)
    for name in TLS_FILES:
        if not os.access(folder / name, os.R_OK):
            asked = "DOCKER_TLS_VERIFY" if environ.get("DOCKER_TLS_VERIFY") else "DOCKER_TLS"
            raise HostError(
                f"{asked} asks for TLS, and {folder / name} cannot be read (DOCKER_CERT_PATH names its folder)"
            )
    return folder


def client(environ: Mapping[str, str], timeout_s: float = 30) -> Client:
    """A client of that engine.

    Raises:
        HostError: the endpoint cannot be used, or the engine does not answer.
    """
    at = endpoint(environ)
    if at.tls is None:
        return Client(base_url=at.host, timeout=timeout_s)
    pair = (str(at.tls / "cert.pem"), str(at.tls / "key.pem"))
    tls = TLSConfig(client_cert=pair, ca_cert=str(at.tls / "ca.pem"), verify=at.verify)
    return Client(base_url=at.host, tls=tls, timeout=timeout_s)


def containers(engine: docker.DockerClient, filters: Filters) -> list[Container]:
    """Containers, ended ones too. One that another process removes between the list and the look at it is left out."""
    return engine.containers.list(all=True, filters=filters, ignore_removed=True)


def reached_at(environ: Mapping[str, str]) -> str:
    """The address, one of the engine's own machine, that ports are published on and reached at.

    Never all addresses: the host of a test run serves that run only. An engine on another machine, which DOCKER_HOST=tcp://
    names (GitLab's docker:dind is one), is reached at the address at which it answers us.

    Raises:
        HostError: no published port of that engine can be reached from here.
    """
    named = endpoint(environ)
    at = _parts(named.host)
    if at.scheme == "unix":
        return HERE
    if at.scheme == "ssh":
        raise HostError(
            f"the engine is on another machine, {named.host}, and no way leads from here to ports published there;"
            f" {DAEMON_HINT}: one here, or DOCKER_HOST=tcp://HOST:PORT"
        )
    port = _port(at)
    if at.scheme != "tcp" or not at.hostname or not port:
        raise HostError(NO_ADDRESS.format(named.host))
    try:
        with socket.create_connection((at.hostname, port), CONNECT_S) as peer:
            address: str = peer.getpeername()[0]
    except OSError as error:
        raise HostError(f"the engine does not answer ({error.strerror or error}): {named.host}") from error
    except UnicodeError as error:  # Python's, before it asks for a label that is empty or longer than 63 octets
        raise HostError(f"the engine does not answer ({at.hostname[:80]} is no name of a host)") from error
    return address


def _whole(named: str, port: int) -> str:
    """An address with scheme and port: TCP where it names no scheme, and there ``port`` where it names none."""
    whole = named if "://" in named else f"tcp://{named}"
    at = _parts(whole)
    return f"{whole}:{port}" if at.scheme == "tcp" and at.hostname and not at.path and _port(at) is None else whole


def _parts(named: str) -> SplitResult:
    try:
        return urlsplit(named)
    except ValueError:  # a bracket that is not closed
        raise HostError(NO_ADDRESS.format(named)) from None


def _port(at: SplitResult) -> int | None:
    """Its port, 0 for one that is no number or too large; None where it names none."""
    try:
        return at.port
    except ValueError:
        return 0


def beside_us(engine: docker.DockerClient) -> str:
    """Why published ports are out of reach although the socket is here: we are in one of the engine's containers.

    Empty where we are not, or share the network of the engine's machine.
    """
    own = CONTAINER.search(Path("/proc/self/mountinfo").read_text("utf-8", "replace"))
    if not own:
        return ""
    for container in containers(engine, {"id": own.group(1)}):
        if container.attrs["HostConfig"]["NetworkMode"] != "host":
            return (
                f"popbox runs in a container of that engine ({container.name}), and ports published on the engine's"
                f" machine are not reached from in there; {DAEMON_HINT}: run it with --network host"
            )
    return ""
