"""``popbox serve --host mounted``: a host that is only seen, by its files, its logs and its two ports."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.popbox.serve.api import TOKEN, Api
from tests.popbox.serve.mailing import cursor_of, journey_of, mail, send, until
from tests.popbox.serve.served import POPBOX, ask, post, serving

from popbox.clients.pop3 import Pop3
from popbox.hosts.base import Host, closing
from popbox.hosts.mounted import MountedHost, Mounts
from popbox.hosts.remote import Remote

PROGRAM = f"{sys.executable} -m mailhost"
WORLD = "host mounted, MTA stand-in"


def mounted(host: Host, *, pop3_log: bool = True) -> list[str]:
    """Options for the host as one whose files lie here."""
    at = ["--host", "mounted", "--mta", "standin", "--home", host.home()]
    at += ["--smtp", str(host.address("smtp")), "--pop3", str(host.address("pop3"))]
    logs = Path(host.home()).parent / "log"
    at += ["--smtp-log", str(logs / "smtp.log"), *(["--pop3-log", str(logs / "pop3.log")] if pop3_log else [])]
    return [*at, "--mailhost-command", PROGRAM]


def fetch(host: Host) -> None:
    with Pop3(host.address("pop3"), timeout_s=60) as session:
        session.login("joe", "testpw")
        for number in range(1, session.stat()[0] + 1):
            session.retrieve(number)
        session.quit()


def test_all_four_legs_are_seen(host: Host, tmp_path: Path) -> None:
    with serving(tmp_path, *mounted(host), world=WORLD) as (port, _):
        since = cursor_of(port)
        send(host, mail("Mounted"), "joe@domain.com", sender="mounted@client.example")
        status, body, _ = ask(port, f"/v1/messages/wait?to=joe@domain.com&subject=Mounted&since={since}")
        assert (status, body["host"], body["messages"][0]["codes"]) == (200, "mounted", ["482913"])
        fetch(host)

        def fetched() -> Any:
            seen = journey_of(port, "sender=mounted@client.example", since)["brief"]
            return seen["legs"]["POP3"] == "done" and seen

        seen = until(fetched)
        assert (set(seen["legs"].values()), seen["end"]) == ({"done"}, "delivered exactly once")
        assert ask(port, "/v1/explain?address=joe@domain.com")[1]["explained"]["outcome"] == "delivered"
        assert [one["domain"] for one in ask(port, "/v1/accounts")[1]["domains"]] == ["domain.com"]
        assert (ask(port, "/v1/queue")[1]["messages"], ask(port, "/readyz")[0]) == ([], 200)
        assert ask(port, f"/v1/messages/none?to=no@domain.com&since={since}")[0] == 200
    [file] = (tmp_path / "popbox/hosts").glob("*.journeys")
    assert file.name.startswith("mounted-")


def test_without_a_log_of_pop3_that_leg_is_unknown(host: Host, tmp_path: Path) -> None:
    with serving(tmp_path, *mounted(host, pop3_log=False), world=WORLD) as (port, _):
        since = cursor_of(port)
        send(host, mail("Unseen"), "joe@domain.com", sender="unseen@client.example")
        journey = journey_of(port, "sender=unseen@client.example", since)
        [recipient] = journey["message"]["recipients"]
        [leg] = [one for one in recipient["legs"] if one["name"] == "POP3"]
        assert (leg["state"], leg["why"]) == ("unknown", "host mounted has no log of POP3: --pop3-log names one")
        assert journey["brief"]["legs"]["Maildir"] == "done"


def test_what_needs_the_mail_host_itself_says_so(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reached = Remote(host.address("smtp"), host.address("pop3"), "stand-in", mailhost_command=PROGRAM)
    seen = MountedHost(reached, Mounts(Path(host.home()), tmp_path / "none"), os.environ)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with closing(seen), Api(seen, tmp_path) as api:
        status, refused = api.get("/v1/lint")
        assert (status, refused["evidence"]) == (409, ["lint is for the mail host itself: run `mailhost lint` there"])
        assert api.get("/v1/accounts")[0] == 200


def test_a_log_that_is_not_there_is_told_until_it_is(host: Host, tmp_path: Path) -> None:
    options = mounted(host)
    at, log = options.index("--smtp-log") + 1, tmp_path / "current"
    options[at], real = str(log), Path(options[at])
    with serving(tmp_path, *options, world=WORLD) as (port, _):
        error = until(lambda: ask(port, "/readyz")[1]["recorder"]["error"])
        assert error == f"the log of smtp, {log}, is not there"
        log.symlink_to(real)
        until(lambda: not ask(port, "/readyz")[1]["recorder"]["error"])


def test_it_sends_where_writes_are_allowed_and_changes_nothing_else(host: Host, tmp_path: Path) -> None:
    said = {"said": "writes with the token of POPBOX_TOKEN", "POPBOX_TOKEN": TOKEN, "world": WORLD}
    with serving(tmp_path, *mounted(host), "--allow-writes", **said) as (port, _):
        status, sent = post(port, "/v1/messages", {"to": ["joe@domain.com"], "subject": "x"}, popbox_token=TOKEN)
        assert (status, sent["accepted"]) == (200, True), sent
        declared = "accounts are changed on the mail host itself: host mounted only reads its files"
        wanted: list[tuple[str, dict[str, str], str]] = [
            ("/v1/spaces", {}, declared),
            ("/v1/mailboxes", {"domain": "domain.com"}, declared),
            ("/v1/faults", {"fault": "stop", "on": "smtp"}, "host mounted is not ours: nothing is broken on it"),
        ]
        for path, body, why in wanted:
            status, refused = post(port, path, body, popbox_token=TOKEN)
            assert (status, refused["evidence"]) == (409, [why]), (path, refused)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "mounted", "--smtp", "x:25", "--pop3", "x:110"], "--host mounted needs --smtp-log FILE"),
        (["--host", "mounted", "--smtp-log", "x"], "needs --smtp HOST:PORT"),
        (["--smtp-log", "x"], "--smtp-log is for --host mounted"),
        (["--host", "mounted", "--smtp-log", "x", "--log-command", "cat x"], "--log-command is for --host remote"),
    ],
)
def test_unusable_options(options: list[str], said: str) -> None:
    done = subprocess.run([*POPBOX, "serve", *options], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
