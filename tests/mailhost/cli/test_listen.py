"""`mailhost serve`: an address that is none is unusable input; one that cannot be bound is named with the reason."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path
from typing import NoReturn

import pytest
from tests.mailhost.cli.support import Host

from mailhost.cli.addresses import host_and_port, shown
from mailhost.standin import server


@pytest.mark.parametrize("daemon", ["pop3", "standin"])
@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:25:2", "127.0.0.1", ":25", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:-1", "127.0.0.1:x",
     "300.1.1.1:25", "1.2.3:25", "::1:25", "[::1:25", "[127.0.0.1]:25", "[]:25", "127.0.0.1:\u0661"],
)  # fmt: skip
def test_a_malformed_address_is_unusable_input(host: Host, daemon: str, address: str) -> None:
    done = host.run("serve", daemon, "--listen", address)
    assert done.exit_code == 2
    assert "is not ADDR:PORT" in done.stderr
    assert address in done.stderr or "\u0661" in done.stderr


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:110", "localhost:25", "0.0.0.0:65535"])
def test_good_ones_are_shown_as_they_were_given(address: str) -> None:
    assert shown(*host_and_port(address)) == address


@pytest.mark.parametrize("option", ["--listen", "--metrics"])
def test_an_address_that_cannot_be_bound_is_named(host: Host, option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = f"127.0.0.1:{taken.getsockname()[1]}"
        done = host.run("serve", "pop3", "--listen", "127.0.0.1:0", option, busy)
    assert done.exit_code == 111
    assert done.stderr == f"mailhost serve pop3: {busy}: Address already in use\n"


def test_the_same_address_twice_is_named_too(host: Host) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    done = host.run("serve", "pop3", "--listen", f"127.0.0.1:{port}", "--listen", f"127.0.0.1:{port}")
    assert done.stderr == f"mailhost serve pop3: 127.0.0.1:{port}: Address already in use\n"


def test_an_address_of_another_host(host: Host) -> None:
    done = host.run("serve", "pop3", "--listen", "192.0.2.1:1")
    assert done.exit_code == 111
    assert done.stderr == "mailhost serve pop3: 192.0.2.1:1: Cannot assign requested address\n"


@pytest.mark.parametrize(
    "verb", [("pop3", "--tls-listen", "127.0.0.1:0"), ("standin", "--listen", "127.0.0.1:0")], ids=lambda verb: verb[0]
)
def test_a_key_that_may_not_be_read_is_no_fault_of_the_command_line(
    empty: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: tuple[str, ...]
) -> None:
    """The options take it, whoever may read it; what comes of it the servers' own tests say."""
    pair = tmp_path / "fullchain.pem", tmp_path / "privkey.pem"
    for path in pair:
        path.write_text("x")
    monkeypatch.setattr(os, "access", lambda *_args, **_named: False)
    done = empty.run("serve", *verb, "--cert", str(pair[0]), "--key", str(pair[1]))
    assert done.exit_code == 111, done.output
    assert "Usage" not in done.output


def test_a_stand_in_that_cannot_start_gives_back_the_signals_that_it_held(
    empty: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs inherit what is blocked. A HUP that came in between was meant for it, and ends no other program."""
    held = []

    def make(*_about: object) -> NoReturn:
        held.append(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        signal.pthread_kill(threading.get_ident(), signal.SIGHUP)  # another thread of a test process has it open
        raise PermissionError("no queue here")

    monkeypatch.setattr(server, "make", make)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    done = empty.run("serve", "standin", "--listen", "127.0.0.1:0")
    assert done.exit_code == 111, done.output
    assert held == [before | {signal.SIGHUP, signal.SIGALRM}]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
    assert not signal.sigpending()
