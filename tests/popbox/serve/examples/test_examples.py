"""The examples for other languages, ``tests/example``: green, and red with the reason of the journey."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.needs import ROOT
from tests.popbox.serve.served import ask, serving

TOKEN = "a-token-of-the-tests"
EXAMPLE = ROOT / "tests/example"
NODE, SHELL = ["node", "--test"], ["sh", "reset.sh"]
FORMS = [
    pytest.param("javascript", NODE, marks=pytest.mark.needs("node"), id="javascript"),
    pytest.param("shell", SHELL, marks=pytest.mark.needs("curl"), id="shell"),
]
# Waits are answered before the mail is there, as long ones are: a client that does not ask again fails.
# One that is over says why once the mail that came has ended.
IMPATIENT = """
import time
from popbox.__main__ import main
from popbox.journey.store import Filters
from popbox.serve.mail import waits

def once_ended(live, wanted, *more):
    until, found = time.monotonic() + 60, [None]
    while time.monotonic() < until and not (found and all(one and one.ended for one in found)):
        time.sleep(0.05)
        found = [live.store.journey(one) for one in live.store.search(Filters(), wanted.since)]
    return timed_out(live, wanted, *more)

waits.MOST_WAIT_S = 0.2
timed_out, waits.timed_out = waits.timed_out, once_ended
main()
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    state, popbox = tmp_path_factory.mktemp("examples"), [sys.executable, "-c", IMPATIENT]
    options, said = ("--host", "local", "--mta", "standin", "--allow-writes"), "writes with the token of POPBOX_TOKEN"
    with serving(state, *options, said=said, popbox=popbox, POPBOX_TOKEN=TOKEN) as (port, _):
        yield f"http://127.0.0.1:{port}"
        assert ask(port, "/v1/spaces", popbox_token=TOKEN)[1]["spaces"] == [], "each example ends its space"


def run(folder: Path, argv: list[str], url: str, **env: str) -> tuple[int, str]:
    """Exit code and output, as in a project that has a copy of the folder."""
    environ = {"PATH": os.environ["PATH"], "POPBOX_URL": url, "POPBOX_TOKEN": TOKEN, **env}
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False, env=environ, timeout=120)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(("name", "argv"), FORMS)
def test_the_reset_is_green(url: str, name: str, argv: list[str]) -> None:
    code, said = run(EXAMPLE / name, argv, url)
    assert code == 0, said


@pytest.mark.parametrize(("name", "argv"), FORMS)
def test_a_failure_shows_the_reason_of_the_journey(url: str, name: str, argv: list[str]) -> None:
    code, said = run(EXAMPLE / name, argv, url, FAULTY="1", POPBOX_WITHIN="1s")
    assert code == 1, said
    assert "408 " in said
    assert "the host has taken no message for joe@" in said
    assert "xjoe@" in said, "and what came instead"
    assert "delivered exactly once" in said


@pytest.mark.parametrize(("name", "argv"), FORMS)
def test_a_wrong_token_is_said(url: str, name: str, argv: list[str]) -> None:
    code, said = run(EXAMPLE / name, argv, url, POPBOX_TOKEN="not-the-token-of-it")
    assert code == 1, said
    assert "401 the token is wrong" in said
