"""What the tests of ``popbox serve`` share: the program, and questions to it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

POPBOX = [sys.executable, "-m", "popbox"]


@contextlib.contextmanager
def serving(
    state: Path,
    *options: str,
    said: str = "read-only",
    world: str = "host local, MTA stand-in",
    popbox: list[str] = POPBOX,
    **env: str,
) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """The program, once it says where; the port, and the process. ``said``: the end of its line, ``PORT`` replaced.

    ``popbox``: how it is started.
    """
    environ = {**os.environ, "XDG_STATE_HOME": str(state), "DOCKER_HOST": "unix:///nowhere.sock", **env}
    argv = [*popbox, "serve", "--listen", "127.0.0.1:0", *options]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ) as program:
        try:
            assert program.stdout is not None
            line = program.stdout.readline()
            found = re.fullmatch(rf"http://127\.0\.0\.1:(\d+) {world}, (.*)\n", line)
            assert found, f"{line!r} {program.stderr.read() if program.stderr else ''}"
            assert found[2] == said.replace("PORT", found[1])
            yield int(found[1]), program
        finally:
            program.send_signal(signal.SIGTERM)
            program.communicate(timeout=60)


def post(port: int, path: str, body: Any, **headers: str) -> tuple[int, Any]:
    """Status and body of the answer to a POST of JSON."""
    status, answer, _ = ask(port, path, "POST", json.dumps(body), content_type="application/json", **headers)
    return status, answer


def ask(
    port: int, path: str, method: str = "GET", body: str | None = None, **headers: str
) -> tuple[int, Any, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    octets = answer.read()
    connection.close()
    assert "application/json" in str(answer.getheader("content-type")), octets
    return answer.status, json.loads(octets), {name.lower(): value for name, value in answer.getheaders()}


def octets(port: int, path: str) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers of a download."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body, {name.lower(): value for name, value in answer.getheaders()}
