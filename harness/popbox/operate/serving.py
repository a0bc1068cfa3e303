"""``popbox serve`` as a program beside a host that is kept: started, found again, and ended with the host.

What is ended is proved to be ours: the process that the record names by pid, start time, boot and pid namespace.
"""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from popbox.clients.wire import Address
from popbox.environment import of_programs
from popbox.errors import HostError
from popbox.hosts.process import undisturbed
from popbox.hosts.readiness import wait_for, wait_until
from popbox.hosts.state import Process
from popbox.settings import Settings

USUAL = Address("127.0.0.1", 8025)
NEEDED = ("fastapi", "uvicorn")  # the extra `serve` brings them
MISSING = "popbox serve needs fastapi and uvicorn: pip install 'popbox[serve]'"
START_S = 60.0  # our choice: a second when idle; one that has ended is noticed at once
STOP_S = 10.0  # our choice: it gives answers that are being written 3 s
ASK_S = 5.0
ANSWER_OCTETS = 4_096
TAKEN = "cannot be listened on"  # how `popbox serve` says it
KINDS = ("json", "new", "out", "log", "token")
SAID = re.compile(r"^(http://127\.0\.0\.1:\d+) ", re.MULTILINE)
CONSOLE = re.compile(r"^console: (\S+)$", re.MULTILINE)
VARIABLE = "POPBOX_TOKEN"  # where a token stands that someone chose


@dataclass(frozen=True, slots=True)
class Serving:
    """One that was started; ``url`` is empty until it has said where it answers."""

    process: Process
    url: str = ""

    def lives(self) -> bool:
        """Whether that very process runs, in a place that can be seen from here."""
        return self.process.seen_from_here() and self.process.lives()


def installed() -> bool:
    """Whether this installation has what ``popbox serve`` needs."""
    return all(find_spec(one) for one in NEEDED)


def begin(settings: Settings, name: str, *options: str, token: str | None = None) -> Serving:
    """Start one beside the kept host ``name`` and wait until it answers that the host is ready.

    It listens on ``USUAL``, or on a free port where that one is taken. It outlives this process; ``end`` ends it.
    ``token``: it allows writes, with that token, or where it is empty with one that it makes, in ``token_file``.

    Raises:
        HostError: it has ended, or is not ready in time; nothing of it is left. Carries what it said.
    """
    _folder(settings).mkdir(parents=True, exist_ok=True, mode=0o700)
    chosen = at()
    if token is not None:
        options = (*options, "--allow-writes", *(() if token else ("--token-file", str(token_file(settings, name)))))
        settings = replace(settings, environ={**settings.environ, **({VARIABLE: token} if token else {})})
    try:
        return _begun(settings, name, chosen, *options)
    except HostError as error:
        if chosen != USUAL or TAKEN not in error.log:
            raise
        # another one took the usual port in that moment, and may have let go of it since
        return _begun(settings, name, USUAL._replace(port=0), *options)


def _begun(settings: Settings, name: str, listen: Address, *options: str) -> Serving:
    try:
        with undisturbed():
            child = _spawn(settings, name, "--listen", str(listen), *options)
            serving = Serving(Process.of(child.pid))
            _save(settings, name, serving)
        wait = _waiting(child, settings, name)
        wait(lambda: "" if _said(settings, name) else "it has not said where it answers")
        serving = replace(serving, url=_said(settings, name))
        _save(settings, name, serving)
        wait(lambda: not_ready(serving.url))
    except BaseException:
        end(settings, name)
        raise
    return serving


def found(settings: Settings, name: str) -> Serving | None:
    """The one that was started beside the host ``name``, where it still runs."""
    try:
        table = json.loads(_file(settings, name, "json").read_text("utf-8"))
        serving = Serving(Process(**table["process"]), str(table["url"]))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise HostError(f"{_file(settings, name, 'json')} is no record of a popbox serve: remove it") from error
    return serving if serving.lives() else None


def address(settings: Settings, name: str) -> str:
    """Where the one beside the host ``name`` answers; empty where none runs."""
    serving = found(settings, name)
    return serving.url if serving else ""


def token_file(settings: Settings, name: str) -> Path:
    """Where the token of writes stands that the one beside the host ``name`` has made."""
    return _file(settings, name, "token")


def console(settings: Settings, name: str) -> str:
    """The address at which a browser opens its console, as it said; with writes it lets one browser in, once."""
    seen = CONSOLE.search(_file(settings, name, "out").read_text("utf-8", "replace"))
    return seen[1] if seen else ""


def told(settings: Settings, name: str, token: str | None = None) -> Iterator[str]:
    """Start one as ``begin`` does; what to tell of it, in lines.

    Raises:
        HostError: as ``begin``.
    """
    yield f"HTTP {begin(settings, name, token=token).url}"
    if token is not None:
        yield f"writes with the token {f'of {VARIABLE}' if token else f'in {token_file(settings, name)}'}"
        yield f"console {console(settings, name)}"


def end(settings: Settings, name: str) -> str:
    """End the one beside the host ``name``, in order, or after ``STOP_S`` at once; returns where it answered.

    Raises:
        HostError: its record cannot be read.
    """
    serving = found(settings, name)
    if serving:
        deadline = time.monotonic() + STOP_S
        serving.process.signal_group(signal.SIGTERM)
        wait_until(lambda: not serving.lives(), deadline)
        serving.process.signal_group(signal.SIGKILL)
    for kind in KINDS:
        _file(settings, name, kind).unlink(missing_ok=True)
    return serving.url if serving else ""


def _folder(settings: Settings) -> Path:
    return settings.state / "serve"


def _file(settings: Settings, name: str, kind: str) -> Path:
    return _folder(settings) / f"{name}.{kind}"


def _save(settings: Settings, name: str, serving: Serving) -> None:
    scratch = _file(settings, name, "new")
    scratch.write_text(json.dumps(asdict(serving), indent=1), "utf-8")
    scratch.replace(_file(settings, name, "json"))


def _spawn(settings: Settings, name: str, *options: str) -> subprocess.Popen[bytes]:
    """In a session of its own, and marked as a part of the host: what takes that away ends this, too."""
    argv = [sys.executable, "-P", "-m", "popbox", "serve", "--on", name, *options]
    environ = {**settings.environ, **of_programs(settings.environ, name), "XDG_STATE_HOME": str(settings.state.parent)}
    with _file(settings, name, "out").open("wb") as out, _file(settings, name, "log").open("wb") as log:
        return subprocess.Popen(
            argv, env=environ, stdin=subprocess.DEVNULL, stdout=out, stderr=log, start_new_session=True
        )


def _waiting(child: subprocess.Popen[bytes], settings: Settings, name: str) -> Callable[[Callable[[], str]], None]:
    deadline = time.monotonic() + START_S

    def wait(pending: Callable[[], str]) -> None:
        wait_for(
            pending,
            lambda: "" if child.poll() is None else f"it ended with {child.returncode}",
            deadline,
            what=f"popbox serve --on {name}",
            log=lambda: _file(settings, name, "log").read_text("utf-8", "replace"),
        )

    return wait


def _said(settings: Settings, name: str) -> str:
    """Where it answers, once its first line is there."""
    seen = SAID.search(_file(settings, name, "out").read_text("utf-8", "replace"))
    return seen[1] if seen else ""


def not_ready(url: str) -> str:
    """Empty where ``/readyz`` answers 200; otherwise what was seen instead."""
    try:
        with closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=ASK_S)) as asked:
            asked.request("GET", "/readyz")
            answer = asked.getresponse()
            return (
                "" if answer.status == 200 else f"{answer.status} {answer.read(ANSWER_OCTETS).decode(errors='replace')}"
            )
    except (OSError, http.client.HTTPException) as error:
        return str(error)


def at() -> Address:
    """Where the next one listens: the usual place, or another port where that one is taken."""
    try:
        with socket.create_server(USUAL):
            return USUAL
    except OSError:
        return USUAL._replace(port=0)
