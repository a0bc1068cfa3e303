"""The image popbox/box, built once for a test run, and containers of it."""

from __future__ import annotations

import functools
import http.client
import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.docker.stacks import until
from tests.popbox import ROOT

TOKEN = "a-token-of-the-tests"


def docker(*argv: str, check: bool = True, within_s: float = 120.0) -> str:
    """Output of ``docker ARGV``, both streams."""
    done = subprocess.run(["docker", *argv], capture_output=True, text=True, timeout=within_s, check=False, cwd=ROOT)
    assert not check or done.returncode == 0, f"{argv}: {done.stderr[-2000:]}"
    return (done.stdout + done.stderr).strip()


@functools.cache
def image() -> str:
    """Its tag; the engine's cache makes a second build one of seconds."""
    tag = f"popbox/box:{os.environ.get('POPBOX_TAG', 'test')}"
    bundle = os.environ.get("SSL_CERT_FILE")
    secret = ["--secret", f"id=ca_bundle,src={bundle}"] if bundle else []
    at = ["--file", "images/mailhost/Dockerfile", "--target", "box", "--build-arg", "AT=images/"]
    docker("build", "--quiet", *at, *secret, "--tag", tag, ".", within_s=500)
    return tag


class Box:
    """A container of the image."""

    def __init__(self, name: str) -> None:
        self.name = name

    def port(self, inner: int) -> int:
        """Where a port is published on 127.0.0.1."""
        return int(docker("port", self.name, str(inner)).splitlines()[0].rpartition(":")[2])

    def ask(self, path: str, **headers: str) -> tuple[int, Any]:
        """Status and body of a GET."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port(8025), timeout=60)
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def ready(self) -> bool:
        """Whether /readyz says so; False also where it is not up yet."""
        try:
            return self.ask("/readyz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def state(self, what: str) -> str:
        """A field of ``docker inspect``, such as ``.State.ExitCode``."""
        return docker("inspect", "--format", f"{{{{{what}}}}}", self.name)

    def signal(self, service: str, name: str) -> None:
        """Signal every process of a service: ``standin`` or ``pop3``."""
        find = f"for f in $(grep -lsw {service} /proc/[0-9]*/cmdline); do d=${{f%/cmdline}}; echo ${{d#/proc/}}; done"
        mine = docker("exec", self.name, "sh", "-c", f"{find} | grep -vx $$")
        docker("exec", self.name, "sh", "-c", f"kill -{name} {' '.join(mine.split())}", check=False)

    def logs(self) -> str:
        """What it printed."""
        return docker("logs", self.name)


@contextmanager
def box(*options: str, published: bool = True) -> Iterator[Box]:
    """One that is up and ready, without a capability and on a read-only root; it goes at the end."""
    name = f"boxtest-{secrets.token_hex(4)}"
    locked = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    ports = [f"--publish=127.0.0.1::{port}" for port in (25, 110, 8025)] if published else []
    try:
        docker("run", "--detach", "--name", name, *locked, *ports, *options, image())
        one = Box(name)
        if published:
            until(one.ready, f"{name} to be ready: {one.logs()}")
        yield one
    finally:
        docker("rm", "--force", "--volumes", name, check=False)
