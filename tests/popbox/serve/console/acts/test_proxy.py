"""The blocks of ``harness/README.md`` for nginx and Caddy, run by them, with and without the path taken away."""

from __future__ import annotations

import http.client
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest
from tests.needs import ROOT, program
from tests.popbox.serve.mailing import until
from tests.popbox.serve.served import serving
from tests.popbox.serve.visitor import Page
from tests.ports import free_port

from popbox.hosts.base import Host

README = (ROOT / "harness/README.md").read_text()
TOKEN = "0123456789abcdefghij"
STRIPPED = {"nginx": ("8025;", "8025/;"), "caddy": ("handle /popbox/*", "handle_path /popbox/*")}


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: str


def block(name: str, upstream: int) -> str:
    found = re.search(rf"```{name}\n(.*?)```", README, re.DOTALL)
    assert found
    return found[1].replace("127.0.0.1:8025", f"127.0.0.1:{upstream}")


def nginx(folder: Path, port: int, inner: str) -> list[str]:
    temporary = "".join(
        f"{one}_temp_path {folder}/{one};" for one in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "conf").write_text(
        f"daemon off; pid {folder}/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; {temporary} server {{ listen 127.0.0.1:{port};\n{inner}\n}} }}\n"
    )
    return [program("nginx"), "-p", str(folder), "-c", str(folder / "conf")]


def caddy(folder: Path, port: int, inner: str) -> list[str]:
    head = "{\n admin off\n auto_https off\n}\n"
    (folder / "conf").write_text(f"{head}http://127.0.0.1:{port} {{\n{inner}\n}}\n")
    return [program("caddy"), "run", "--adapter", "caddyfile", "--config", str(folder / "conf")]


PROXIES: dict[str, Callable[[Path, int, str], list[str]]] = {"nginx": nginx, "caddy": caddy}


@contextmanager
def proxied(name: str, folder: Path, port: int, inner: str) -> Iterator[None]:
    argv = PROXIES[name](folder, port, inner)
    env = {"PATH": "/usr/bin:/bin", "HOME": str(folder)}
    with (folder / "log").open("wb") as log, subprocess.Popen(argv, stdout=log, stderr=log, env=env) as child:
        try:
            until(lambda: answers(port) or child.poll() is not None)
            assert child.poll() is None, (folder / "log").read_text()
            yield
        finally:
            child.terminate()
            child.wait(timeout=60)


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True


def ask(port: int, method: str, path: str, body: str | None = None, **headers: str) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    said = {"accept": "text/html", **{name.replace("_", "-"): value for name, value in headers.items()}}
    connection.request(method, path, body, said)
    answer = connection.getresponse()
    found = Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode())
    connection.close()
    return found


@pytest.mark.parametrize("strips", [False, True], ids=["path handed on", "path taken away"])
@pytest.mark.parametrize("name", sorted(PROXIES))
def test_the_console_behind_a_proxy(state: Path, host: Host, tmp_path: Path, name: str, strips: bool) -> None:
    assert host.name == "local"
    program(name)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    options = ("--allow-writes", "--store", str(tmp_path / "journeys"), "--public-url", f"{url}/popbox")
    said = {"said": "writes with the token of POPBOX_TOKEN", "POPBOX_TOKEN": TOKEN}
    with serving(state, *options, **said) as (upstream, serve):
        inner = block(name, upstream)
        inner = inner.replace(*STRIPPED[name]) if strips else inner
        with proxied(name, tmp_path, port, inner):
            assert serve.stdout
            link = serve.stdout.readline().split()[1]
            assert link.startswith(f"{url}/popbox/enter?once=")
            form = Page(ask(port, "GET", link.removeprefix(url)).body).forms[0]
            fields = urlencode(form.fields)
            kind = {"content_type": "application/x-www-form-urlencoded"}
            assert ask(port, "POST", form.action, fields, origin="https://evil.example", **kind).status == 403
            forwarded = {"x_forwarded_host": "evil.example", "x_forwarded_proto": "https", "forwarded": "host=x"}
            entered = ask(port, "POST", form.action, fields, origin=url, **kind, **forwarded)
            cookie = entered.headers["set-cookie"]
            assert (entered.status, entered.headers["location"]) == (303, "/popbox/")
            assert re.fullmatch(rf"popbox-{port}=[\w-]+; Path=/popbox; HttpOnly; SameSite=Strict", cookie)
            page = ask(port, "GET", "/popbox/enter", cookie=cookie.partition(";")[0], authorization="Basic eDp5")
            assert "data-entered" in page.body
            assert {one.action for one in Page(page.body).forms} == {"/popbox/leave"}
            for path in (*re.findall(r'(?:href|src)="([^"#]+)"', page.body), "/popbox", "/popbox/v1/journeys"):
                assert path.startswith("/popbox"), path
                assert ask(port, "GET", path).status in (200, 301, 302, 303), path
            streams(port)


def streams(port: int) -> None:
    """The first event comes at once, and not when a buffer is full or the connection ends."""
    with socket.create_connection(("127.0.0.1", port), 60) as client:
        client.sendall(f"GET /popbox/v1/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        seen = b""
        while b"event: open" not in seen:
            part = client.recv(4_096)
            assert part, seen
            seen += part
