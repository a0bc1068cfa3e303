"""``popbox serve`` as a program, on a host that is kept, over real sockets."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.routing import APIRoute
from tests.popbox.serve.mailing import mail, send, until
from tests.popbox.serve.served import POPBOX, ask, serving

from popbox.hosts.base import Host, Ran
from popbox.serve.app import SCHEMA, schema_text
from popbox.serve.errors import ApiError
from popbox.serve.reads import reads
from popbox.serve.space import Space


def test_ready_says_where_the_services_are(port: int, host: Host) -> None:
    status, body, headers = ask(port, "/readyz")
    recorder = body.pop("recorder")
    assert (recorder["error"], recorder["failed"], recorder["retry_at"]) == ("", 0, None)
    assert (status, body) == (
        200,
        {
            "host": "local", "mta": "stand-in", "ready": True,
            "smtp": str(host.address("smtp")), "pop3": str(host.address("pop3")), "late": [],
        },
    )  # fmt: skip
    assert (headers["popbox-world"], headers["x-content-type-options"]) == ("local/stand-in", "nosniff")
    assert "server" not in headers


def test_ready_says_which_service_is_silent(port: int, host: Host) -> None:
    host.stop("pop3")
    try:
        status, body, _ = ask(port, "/readyz")
    finally:
        host.restart("pop3", time.monotonic() + 60)
    assert (status, body["error"]) == (503, "the mail host is not ready")
    assert body["evidence"][0].startswith("pop3: ")
    assert not [one for one in body["evidence"] if one.startswith("smtp")]
    assert ask(port, "/readyz")[0] == 200


def test_one_store_is_written_by_one_serve(state: Path, host: Host, port: int) -> None:
    assert ask(port, "/readyz")[0] == 200
    environ = {**os.environ, "XDG_STATE_HOME": str(state), "DOCKER_HOST": "unix:///nowhere.sock"}
    argv = [*POPBOX, "serve", "--listen", "127.0.0.1:0"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environ, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert "another process writes this store" in done.stderr, done.stderr


def test_an_address_is_explained(port: int) -> None:
    status, body, _ = ask(port, "/v1/explain?address=joe@domain.com")
    assert (status, body["explained"]["outcome"], body["mta"]) == (200, "delivered", "stand-in")
    for hostile in ("--help", "-h", "--default-delivery=x", "nobody@domain.com", "%F0%9F%92%A9@x", "$(id)@x", "a'b@x"):
        status, body, _ = ask(port, f"/v1/explain?address={hostile}")
        assert status in (200, 422), body
        assert status == 422 or body["explained"]["outcome"] != "delivered"


@pytest.mark.parametrize("query", ["", "?address=", "?address=a%00b", "?address=a%0ab", "?address=" + "a" * 1001])
def test_what_is_no_address_is_refused_in_the_one_form(port: int, query: str) -> None:
    status, body, _ = ask(port, f"/v1/explain{query}")
    assert (status, body["error"], body["mta"]) == (422, "the request cannot be used", "stand-in")
    assert body["evidence"][0].startswith("query.address: ")


def test_accounts_without_any_hash_findings_and_queue(port: int) -> None:
    status, body, _ = ask(port, "/v1/accounts")
    assert (status, [one["address"] for one in body["mailboxes"]]) == (200, ["joe@domain.com"])
    assert [one["domain"] for one in body["domains"]] == ["domain.com"]
    assert "DmIMm9e5Hc8ic" not in json.dumps(body)
    assert [one["rule"] for one in ask(port, "/v1/lint")[1]["findings"]] == ["hash-weak"]
    empty = (200, {"host": "local", "mta": "stand-in", "messages": []})
    assert until(lambda: ask(port, "/v1/queue")[:2] == empty), "what another test sent has ended by then"


@pytest.mark.parametrize(
    "path", ["/nothing", "/readyz/", "/docs", "/redoc", "/v1", "/../etc/passwd", "//x", "/v1/explain/x"]
)
def test_what_is_not_there_is_404_in_the_one_form(port: int, path: str) -> None:
    status, body, _ = ask(port, path)
    assert (status, set(body)) == (404, {"error", "hint", "evidence", "host", "mta"})


@pytest.mark.parametrize(
    "path", ["/readyz", "/v1/explain?address=joe@domain.com", "/v1/accounts", "/openapi.json", "/no"]
)
def test_every_path_is_guarded(port: int, path: str) -> None:
    assert ask(port, path, Host="rebound.example")[0] == 421
    assert ask(port, path, Origin="https://evil.example")[0] == 403
    assert ask(port, path, Sec_Fetch_Site="cross-site")[0] == 403
    for method in ("POST", "DELETE", "OPTIONS"):
        status, body, headers = ask(port, path, method)
        assert (status, body["error"], headers["allow"]) == (405, "nothing can be changed here", "GET")
    assert ask(port, path, Origin=f"http://localhost:{port}", Host=f"localhost:{port}")[0] in (200, 404)


def test_the_schema_is_the_one_that_is_kept(port: int) -> None:
    assert SCHEMA.read_text() == schema_text(), "python -m popbox.serve.app writes it again; it only grows"
    described = ask(port, "/openapi.json")[1]
    assert described["openapi"].startswith("3.1")
    assert described["paths"] == json.loads(SCHEMA.read_text())["paths"]


def test_it_starts_a_host_of_its_own_and_takes_it_away(tmp_path: Path) -> None:
    with serving(tmp_path, "--host", "local") as (port, program):
        assert ask(port, "/readyz")[0] == 200
        assert len(list((tmp_path / "popbox/hosts").glob("*.json"))) == 1
        assert len(list((tmp_path / "popbox/hosts").glob("*.journeys"))) == 1
    assert program.returncode == 130, "as every command that a signal ends"
    assert list((tmp_path / "popbox/hosts").iterdir()) == [], "the host's journeys go with it"


def test_a_write_needs_the_token_that_lies_in_a_file_of_the_state(state: Path, host: Host, tmp_path: Path) -> None:
    assert host.name == "local"
    file = f"{state}/popbox/serve/PORT.token"
    store = ("--store", str(tmp_path / "journeys"))
    with serving(state, "--allow-writes", *store, said=f"writes with the token in {file}") as (port, program):
        path = Path(file.replace("PORT", str(port)))
        token = path.read_text().strip()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert program.stdout
        link = program.stdout.readline()
        assert re.fullmatch(rf"console: http://127\.0\.0\.1:{port}/enter\?once=[\w-]{{32}}\n", link), link
        assert token not in link
        assert ask(port, "/v1/nothing", "POST")[0] == 401
        status, body, _ = ask(port, "/v1/nothing", "POST", popbox_token=f"{token}x")
        assert (status, body["error"]) == (401, "the token is wrong")
        assert ask(port, "/v1/nothing", "POST", popbox_token=token)[0] == 415
        assert ask(port, "/v1/nothing", "DELETE", popbox_token=token)[0] == 404
        assert ask(port, "/v1/accounts")[0] == 200
    assert not path.exists()


def test_the_token_may_be_chosen_in_a_file_or_in_the_environment(state: Path, host: Host, tmp_path: Path) -> None:
    assert host.name == "local"
    chosen, file = "0123456789abcdefghij", tmp_path / "token"
    file.write_text(chosen)
    file.chmod(0o600)
    store = ("--store", str(tmp_path / "journeys"))
    options, said = ["--allow-writes", *store, "--token-file", str(file)], f"writes with the token in {file}"
    with serving(state, *options, said=said, POPBOX_TOKEN="another-token-of-a-space") as (port, _):
        assert ask(port, "/v1/nothing", "DELETE", popbox_token=chosen)[0] == 404
    assert file.read_text() == chosen
    options, said = ["--allow-writes", *store], "writes with the token of POPBOX_TOKEN"
    with serving(state, *options, said=said, POPBOX_TOKEN=chosen) as (port, _):
        assert ask(port, "/v1/nothing", "DELETE", authorization=f"Bearer {chosen}")[0] == 404


def remote(host: Host) -> list[str]:
    """Options for the host as one that is given by its addresses, a log and mailhost."""
    options = ["--host", "remote", "--smtp", str(host.address("smtp")), "--pop3", str(host.address("pop3"))]
    log = Path(host.home()).parent / "log/smtp.log"
    return [*options, "--log-command", f"cat {log}", "--mailhost-command", host.by_hand()]


def test_a_remote_host_shows_what_it_can_and_the_rest_is_unknown(host: Host, tmp_path: Path) -> None:
    with serving(tmp_path, *remote(host), world="host remote, MTA unknown") as (port, _):
        since = ask(port, "/v1/journeys?limit=1")[1]["cursor"]
        send(host, mail("Remote"), "joe@domain.com", sender="remote@client.example")

        def seen() -> Any:
            found = ask(port, f"/v1/journeys?since={since}&sender=remote@client.example")[1]["journeys"]
            return [one for one in found if one["ended"]]

        [journey] = until(seen)
        assert (journey["end"], journey["legs"]["queue"], journey["legs"]["Maildir"]) == (
            "not known",
            "done",
            "unknown",
        )
        assert "host remote is not ours" in journey["why"]
        for path in ("wait", "none"):
            status, body, _ = ask(port, f"/v1/messages/{path}?to=joe@domain.com")
            assert (status, "host remote is not ours" in body["evidence"][0]) == (409, True)
        assert ask(port, "/readyz")[0] == 200
        assert ask(port, "/v1/explain?address=joe@domain.com")[1]["explained"]["outcome"] == "delivered"
    [file] = (tmp_path / "popbox/hosts").glob("*.journeys")
    assert file.name.startswith("remote-127.0.0.1")


def test_a_remote_host_without_a_log_says_that_nothing_is_recorded(host: Host, tmp_path: Path) -> None:
    with serving(tmp_path, *remote(host)[:6], world="host remote, MTA unknown") as (port, _):
        error = until(lambda: ask(port, "/readyz")[1]["recorder"]["error"])
    assert error == "host remote shows no log: --log-command gives one"


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--listen", "8025"], 2, "is not HOST:PORT"),
        (["--listen", "0.0.0.0:0"], 2, "needs --public-url"),
        (["--public-url", "https://x/"], 2, "without a slash at its end"),
        (["--public-url", "https://x/a//b"], 2, "[/PATH] is wanted"),
        (["--public-url", "https://x/a/../b"], 2, "[/PATH] is wanted"),
        (["--public-url", "https://x/a?b"], 2, "[/PATH] is wanted"),
        (["--public-url", "https://x/a;b"], 2, "[/PATH] is wanted"),
        (["--public-url", "https://["], 2, "[/PATH] is wanted"),
        (["--public-url", "https://[::1"], 2, "[/PATH] is wanted"),
        (["--public-url", "https://u@x"], 2, "[/PATH] is wanted"),
        (["--public-url", "https://x/a", "--public-url", "https://y"], 2, "all have one path"),
        (["--public-url", "https://x", "--public-url", "http://X"], 2, "one name has one scheme"),
        (["--public-url", "ftp://x"], 2, "https://NAME"),
        (["--on", "x", "--host", "local"], 2, "give one of them"),
        (["--token-file", "x"], 2, "of no use without --allow-writes"),
        (["--host", "remote"], 2, "needs --smtp HOST:PORT"),
        (["--smtp", "x:25"], 2, "--smtp is for --host remote"),
        (["--on", "nonesuch", "--listen", "127.0.0.1:0"], 3, "no host is up by the name 'nonesuch'"),
        (["--listen", "192.0.2.1:8025"], 3, "192.0.2.1:8025 cannot be listened on"),
    ],
)
def test_unusable_options(tmp_path: Path, options: list[str], code: int, said: str) -> None:
    environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "DOCKER_HOST": "unix:///nowhere.sock"}
    done = subprocess.run(
        [*POPBOX, "serve", *options], capture_output=True, text=True, check=False, env=environ, timeout=120
    )
    assert (done.returncode, said in done.stderr, done.stdout) == (code, True, ""), done.stderr


def test_the_queue_of_real_qmail_is_shown_where_it_can_be_read() -> None:
    """It was 409 whatever mailhost could read. A space sees of it what is its own, and nothing that is damaged."""
    to = [{"address": f"p-joe@{domain}", "state": "waiting"} for domain in ("a.test", "b.test")]
    listed = [{"id": 7, "queue": "qmail", "recipients": to}, {"id": 8, "queue": "qmail", "error": "cut short"}]
    mail_host = SimpleNamespace(name="docker", mta="qmail", run=lambda *argv: Ran(argv, 0, json.dumps(listed), ""))
    router = reads(SimpleNamespace(host=mail_host))  # type: ignore[arg-type]
    [asked] = [route.endpoint for route in router.routes if isinstance(route, APIRoute) and route.path == "/v1/queue"]
    assert asked(None).messages == listed
    mine = asked(Space("a", "a.test")).messages
    assert mine == [{"id": 7, "queue": "qmail", "recipients": to[:1]}]
    mail_host.run = lambda *argv: Ran(argv, 111, "", "mailhost queue: /var/qmail/queue/info: Permission denied\n")
    with pytest.raises(ApiError) as refused:
        asked(None)
    assert (refused.value.status, "Permission denied" in str(refused.value.evidence)) == (409, True)


def test_the_front_door_does_not_load_the_web_framework() -> None:
    program = "import popbox.cli.main, popbox.pytest_plugin, sys; print([m for m in sys.modules if m.split('.')[0] in "
    program += "('fastapi', 'starlette', 'uvicorn') or m.startswith('popbox.message')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "[]\n"


def test_its_collector_looks_at_what_is_imported_no_more(state: Path, host: Host, tmp_path: Path) -> None:
    """Each full collection stops all threads; beside a thousand waits it took 0.3 s, every 5 s."""
    assert host.name == "local"
    said = "print(gc.get_threshold(), gc.get_freeze_count() > 10_000)"
    program = f"import gc, uvicorn; uvicorn.Server.run = lambda *_, **__: {said}; "
    program += "from popbox.__main__ import main; main()"
    environ = {**os.environ, "XDG_STATE_HOME": str(state), "DOCKER_HOST": "unix:///nowhere.sock"}
    argv = [sys.executable, "-c", program, "serve", "--listen", "127.0.0.1:0", "--store", str(tmp_path / "own")]
    done = subprocess.run(argv, capture_output=True, text=True, env=environ, check=False, timeout=120)
    assert done.stdout.splitlines()[-1:] == ["(2000, 10, 200) True"], done
