"""What tests need of the machine: one table, and the only place that asks.

A test says ``@pytest.mark.needs("root", "dovecot")``; a fixture or a helper calls ``require("dovecot")``, or
``program("curl")`` for a path; what only a try can show ends in ``lacks(name, why)``. Each is a skip with one form of
reason, ``needs NAME: why``, and the closing table counts the skips by name. ``test_needs.py`` finds tests that ask
otherwise.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import resource
import shutil
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))  # a plain user's PATH has no sbin
ROOT = Path(__file__).parents[1]
QMAIL = Path("/var/qmail/bin")
PEERS = Path(os.environ.get("POPBOX_POP3_PEERS", "/opt/popbox-pop3-peers"))  # unpacked packages
COURIER = PEERS / "usr/lib/courier/courier/courierpop3d"
BASE = "debian:bookworm-slim"  # what compose.yaml builds on by default
DESCRIPTORS = 6_000
ASK_S = 60
PREFIX = "needs "  # of every reason


@dataclass(frozen=True, slots=True)
class Need:
    """Why this machine lacks it, empty where it does not; asked only when nothing of ``on`` is lacking."""

    why: Callable[[], str]
    on: tuple[str, ...] = ()


def _ends_well(*argv: str) -> str:
    """What a command says that fails; empty for one that ends with 0."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=ASK_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    last = (done.stderr.strip() or done.stdout.strip() or "no word of it").splitlines()[-1]
    return f"`{' '.join(argv)}` ends with {done.returncode}: {last[:150]}" if done.returncode else ""


def _which(*names: str) -> str | None:
    return next((path for name in names if (path := shutil.which(name, path=PATH))), None)


def _installed(names: tuple[str, ...]) -> Callable[[], str]:
    return lambda: "" if _which(*names) else f"{names[0]} is not installed"


def _there(*paths: Path) -> Callable[[], str]:
    return lambda: ", ".join(f"{path} does not exist" for path in paths if not path.exists())


def _root() -> str:
    return f"this is uid {os.geteuid()}" if os.geteuid() else ""


def _popusers_python() -> str:
    from tests.mailhost.pop3.chain_programs import interpreter

    return "" if interpreter() else "no Python with our packages that the boxes' owner can execute"


def _node() -> str:
    """Node 18 or newer: with a test runner and fetch."""
    asked = "import 'node:test'; fetch.name"
    return _ends_well("node", "--input-type=module", "--eval", asked)


def _playwright() -> str:
    found = all(map(importlib.util.find_spec, ("playwright", "axe_playwright_python")))
    return "" if found else "Playwright and axe are not installed: `make browser`"


def _sphinx() -> str:
    found = all(map(importlib.util.find_spec, ("sphinx", "myst_parser", "furo")))
    return "" if found else "Sphinx is not installed: `make docs`"


def _docker_stack() -> str:
    """An old client answers `--help` for any word; a new one knows `config`, which needs no engine."""
    done = subprocess.run(["docker", "stack", "config", "--help"], capture_output=True, text=True, check=False)
    return "" if "docker stack config" in done.stdout else "this client has no `docker stack config`"


def _host_docker() -> str:
    from popbox.hosts.docker import unavailable

    return unavailable(os.environ)


def _base_image() -> str:
    """It is here, or comes when it is asked for, as a build would ask."""
    here = ("docker", "image", "inspect", "--format", "{{.Id}}", BASE)
    return _ends_well(*here) and _ends_well("docker", "pull", "--quiet", BASE)


def _qmail_image() -> str:
    from popbox.hosts.docker import no_qmail
    from popbox.settings import Settings

    return no_qmail(Settings(ROOT, ROOT, os.environ.get("QMAIL_BASE"), dict(os.environ)))


def _history() -> str:
    shallow = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--is-shallow-repository"], capture_output=True, text=True, check=False
    )
    return "" if shallow.stdout.strip() == "false" else "this is no clone with its history"


def _descriptors() -> str:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return "" if hard >= DESCRIPTORS or hard == resource.RLIM_INFINITY else f"at most {hard} here"


def _ipv6() -> str:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return ""
    except OSError as error:
        return str(error)


def _processors() -> str:
    return "" if len(os.sched_getaffinity(0)) > 1 else "one processor"


PROGRAMS: dict[str, tuple[str, ...]] = {  # name -> the programs of which one must be there; the first names it
    "C compiler": ("cc",),
    "caddy": ("caddy",),
    "checkpw": ("checkpw",),
    "chromium": ("chromium", "chromium-browser"),
    "curl": ("curl",),
    "docker client": ("docker",),
    "fetchmail": ("fetchmail",),
    "flock": ("flock",),
    "getmail": ("getmail",),
    "git": ("git",),
    "java": ("java",),
    "man": ("man",),
    "mandoc": ("mandoc",),
    "mpop": ("mpop",),
    "mutt": ("mutt",),
    "nginx": ("nginx",),
    "perl": ("perl",),
    "promtool": ("promtool",),  # Debian's package prometheus
    "script": ("script",),
    "setpriv": ("setpriv",),
    "ssh": ("ssh",),
    "ssh-keygen": ("ssh-keygen",),
    "sshd": ("sshd",),
    "strace": ("strace",),
    "tcpserver": ("tcpserver",),
}
NEEDS: dict[str, Need] = {name: Need(_installed(names)) for name, names in PROGRAMS.items()} | {
    "root": Need(_root),
    "popuser's Python": Need(_popusers_python),
    "two processors": Need(_processors),
    "IPv6": Need(_ipv6),
    "descriptors": Need(_descriptors),
    "mount namespace": Need(lambda: _ends_well("unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"), on=("root",)),
    "user namespace": Need(lambda: _ends_well("unshare", "--user", "--map-user=1000", "--map-group=1000", "true")),
    "git history": Need(_history, on=("git",)),
    "real qmail": Need(_there(*(QMAIL / name for name in ("qmail-newu", "qmail-smtpd", "qmail-popup", "qmail-pop3d")))),
    "dovecot": Need(_there(Path("/usr/sbin/dovecot"), Path("/usr/lib/dovecot/pop3"))),
    "courier": Need(_there(COURIER)),
    "engine": Need(lambda: _ends_well("docker", "version", "--format", "{{.Server.Version}}"), on=("docker client",)),
    "compose": Need(lambda: _ends_well("docker", "compose", "version"), on=("docker client",)),
    "docker stack": Need(_docker_stack, on=("docker client",)),
    "buildx": Need(lambda: _ends_well("docker", "buildx", "version"), on=("docker client",)),
    "base image": Need(_base_image, on=("engine",)),
    "node": Need(_node),
    "Playwright": Need(_playwright),
    "Sphinx": Need(_sphinx),
    "host docker": Need(_host_docker, on=("engine", "compose", "buildx", "base image")),
    "qmail image": Need(_qmail_image, on=("host docker",)),
    # What only a try can show; a test that finds it lacking says so by ``lacks``.
    "own disks": Need(str),
    "extended attributes": Need(str),
}


@functools.cache
def lacking(name: str) -> tuple[str, str] | None:
    """The need at the bottom that this machine lacks, and why; None where all is there. KeyError for no such need."""
    need = NEEDS[name]
    for other in need.on:
        if found := lacking(other):
            return found
    why = need.why()
    return (name, why) if why else None


def why_not(*names: str) -> str:
    """What of it this machine lacks and why, in words; empty where all is there. For what is no test."""
    found = next((found for name in names if (found := lacking(name))), None)
    return ": ".join(found) if found else ""


def lacks(name: str, why: str) -> NoReturn:
    """Skip for a need of the table whose lack a try has shown."""
    assert name in NEEDS
    pytest.skip(f"{PREFIX}{name}: {why}")


def require(*names: str) -> None:
    """Go on where this machine has all of them; else skip, with the first that is lacking."""
    for name in names:
        if found := lacking(name):
            lacks(*found)


def program(name: str) -> str:
    """The path of a program of the table; a skip where it is not installed."""
    require(name)
    path = _which(*PROGRAMS[name])
    assert path
    return path
