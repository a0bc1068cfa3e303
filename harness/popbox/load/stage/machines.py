"""Load from several machines: where their workers come to, and a worker that goes to another machine's master."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from popbox.clients.wire import Address
from popbox.environment import of_programs
from popbox.errors import HostError, UnusableError
from popbox.hosts.process import undisturbed
from popbox.load.plan.spec import Spec
from popbox.load.stage.processes import END_S, PROGRAM, how


def can_listen(at: Address) -> None:
    """Make sure that workers of other machines can come to an address of this one.

    Raises:
        UnusableError: it has no such name or address, or it is taken.
    """
    try:
        family, kind, protocol, _, where = _found(at)
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
    except OSError as error:
        raise UnusableError(f"--master {at}: {error.strerror or error}") from error


def work(spec: Path, at: Address, folder: Path, environ: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Be a worker of the master ``at`` until the load ends; the journal stands in ``folder``.

    Raises:
        UnusableError: ``spec`` is none, or there is no such name.
        HostError: the worker failed, or no master has answered it.
        KeyboardInterrupt: after the worker has ended in order, its journal too; a second one ends it at once.
    """
    Spec.read(spec)
    try:
        _found(at)
    except OSError as error:
        raise UnusableError(f"--worker {at}: {error.strerror or error}") from error
    say(f"the load begins when the master at {at} has all its workers")
    argv = [sys.executable, "-m", PROGRAM, str(spec.resolve()), "worker", f"{at.host}:{at.port}", str(folder)]
    begun = list[subprocess.Popen[bytes]]()
    try:
        with undisturbed():
            begun.append(subprocess.Popen(argv, env=of_programs(environ), start_new_session=True))
        if code := begun[0].wait():
            raise HostError(f"the worker {how(code)}")
    except KeyboardInterrupt:
        for worker in begun:
            worker.terminate()
            with suppress(subprocess.TimeoutExpired):
                worker.wait(END_S)
        raise
    finally:
        for worker in begun:
            worker.kill()
            worker.wait()


def _found(at: Address) -> tuple[Any, ...]:
    return socket.getaddrinfo(*at, type=socket.SOCK_STREAM)[0]
