"""What the image popbox/box runs: stand-in MTA, POP3 and ``popbox serve`` in one container. It ends when one does.

Variables: POPBOX_TOKEN (of writes; else it is in the file TOKEN), POPBOX_DOMAIN (takes every address), POPBOX_PASSWORD
(of its one login), POPBOX_NAMES (names under which clients reach it).
Exit codes: 0 told to end, 1 a program has ended, 2 unusable input, 3 a program did not start.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socket import gethostname

from popbox.cli.output import echo
from popbox.clients.wire import Address
from popbox.errors import HostError, PopboxError, UnusableError
from popbox.hosts.base import SERVICES, Service
from popbox.hosts.local import LocalHost
from popbox.hosts.state import Registry
from popbox.journey.store import Store
from popbox.serve.app import application
from popbox.serve.keys import given, keys_in
from popbox.serve.live import Live
from popbox.serve.names import usable
from popbox.serve.rules import Rules
from popbox.serve.server import Server, bind, server
from popbox.settings import Settings

STATE = Path("/var/lib/popbox")
TOKEN = STATE / "token"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - a container's own network; what is published is for the engine to say
HTTP = Address(EVERYWHERE, 8025)
LISTEN: Mapping[Service, str] = {"smtp": f"{EVERYWHERE}:25", "pop3": f"{EVERYWHERE}:110"}
DOMAIN, LOGIN = "popbox.test", "anyone"  # our choice; RFC 6761 keeps .test for tests
# What CI systems and engines name it: GitLab makes two of the image's name, Docker has the others.
NAMES = ("box", "popbox", "popbox-box", "popbox__box", "docker", "host.docker.internal", "host.testcontainers.internal")
LOOK_S = 0.2
ENDED, UNUSABLE, UNAVAILABLE = 1, 2, 3


def main() -> int:
    """Run until a signal or the end of a program; returns the exit code."""
    try:
        return _run(os.environ)
    except KeyboardInterrupt:
        return 0
    except UnusableError as error:
        code, said = UNUSABLE, str(error)
    except PopboxError as error:
        code, said = UNAVAILABLE, str(error)
    echo(f"box: {said}", err=True)
    return code


def _run(environ: Mapping[str, str]) -> int:
    names = _names(environ)
    if not os.access(STATE, os.R_OK | os.W_OK | os.X_OK):
        raise UnusableError(
            f"{STATE}: uid {os.geteuid()} cannot write there; uid 888 can, or give it a volume of its own"
        )
    keys = given(environ["POPBOX_TOKEN"], "POPBOX_TOKEN") if environ.get("POPBOX_TOKEN") else keys_in(TOKEN)[0]
    _empty()
    settings = Settings.from_environment(environ)
    with ExitStack() as stack:
        listener = stack.enter_context(bind(HTTP))
        host = LocalHost.start(Registry(settings.state), environ=settings.environ, listen=LISTEN)
        stack.callback(host.close)
        domain = environ.get("POPBOX_DOMAIN") or DOMAIN
        _declare(host, domain, environ.get("POPBOX_PASSWORD", ""))
        live = stack.enter_context(Live(host, stack.enter_context(Store.open(STATE / "journeys"))))
        rules = Rules.at(*HTTP, names=names, host=host.name, mta=host.mta, keys=keys)
        http = server(application(live, rules, settings.assets / "scenarios"), live.end_waits)
        watched = stack.enter_context(_watching(host, http))
        echo(f"box: {host.describe()} (not qmail): SMTP 25, POP3 110, HTTP 8025; {domain} takes every address")
        echo(
            f"box: token: {'POPBOX_TOKEN' if environ.get('POPBOX_TOKEN') else TOKEN}; names: {', '.join(sorted(names))}"
        )
        http.run(sockets=[listener])
    return watched.code


def _empty() -> None:
    """Each start begins without mail, also after a kill: nothing of an earlier start is taken for this one's."""
    for path in STATE.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path != TOKEN:
            path.unlink()


def _names(environ: Mapping[str, str]) -> frozenset[str]:
    more = [one.strip().lower() for one in environ.get("POPBOX_NAMES", "").split(",") if one.strip()]
    if wrong := [one for one in more if not usable(one)]:
        raise UnusableError(f"POPBOX_NAMES: {wrong[0]!r} is no name: names with commas are wanted, without ports")
    return frozenset((*NAMES, *filter(usable, [gethostname().lower()]), *more))


def _declare(host: LocalHost, domain: str, password: str) -> None:
    """A domain that takes every address, into one box. Without a password no one can log in to it."""
    secret = ("--password-stdin",) if password else ("--generate",)
    for argv, stdin in (
        (("domain", "add", "--", domain), ""),
        (("mailbox", "add", f"{LOGIN}@{domain}", "--login", LOGIN, *secret), password),
        (("catchall", "set", domain, f"{LOGIN}@{domain}"), ""),
    ):
        done = host.run(*argv, stdin=stdin.encode())
        if done.code:
            raise UnusableError(f"POPBOX_DOMAIN, POPBOX_PASSWORD: {(done.stderr or done.stdout).strip()}")


class _Watch:
    """Prints what the services log, and ends the server when one of them has ended by itself."""

    def __init__(self, host: LocalHost, http: Server) -> None:
        self._host, self._http, self.code = host, http, 0
        self._logs = {service: host.follow(service) for service in SERVICES}
        self._over = threading.Event()

    def run(self) -> None:
        """Until ``stop``."""
        while not self._over.wait(LOOK_S):
            self.print()
            if how := self._host.died():
                echo(f"box: {how}: the container ends", err=True)
                self.code, self._http.should_exit = ENDED, True
                return

    def print(self) -> None:
        """What is new."""
        for service, log in self._logs.items():
            try:
                for line in log.lines():
                    echo(f"{service} | {line.text}")
            except (OSError, HostError) as error:
                echo(f"box: the log of {service} cannot be read: {error}", err=True)

    def stop(self) -> None:
        """From here on a service that ends was told to."""
        self._over.set()


@contextmanager
def _watching(host: LocalHost, http: Server) -> Iterator[_Watch]:
    watch = _Watch(host, http)
    thread = threading.Thread(target=watch.run, name="watch", daemon=True)
    thread.start()
    try:
        yield watch
    finally:
        watch.stop()
        thread.join()
        watch.print()


if __name__ == "__main__":
    sys.exit(main())
