"""Real mail programs as oracles: they fetch a box from the old host, and with that memory from the new one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from popbox.clients.bulk_pop3 import BulkPop3
from popbox.clients.read_only_proxy import ReadOnlyProxy, read_only_proxy
from popbox.migrate.pop3.accounts import Account, Unusable
from popbox.migrate.pop3.host import Host
from popbox.migrate.verify.report import Oracle
from popbox.migrate.verify.result import Box
from popbox.migrate.verify.work import Work
from popbox.scratch import scratch

CLIENTS = ("getmail", "fetchmail")
RUN_S = 600  # our choice: one run of a mail program on one box
# getmail 6.18 misses the end of a program that ends before it waits for it, and then waits for 3 minutes: so this one
# ends only once getmail sleeps. Where there is no /proc it ends at once.
ONCE_WAITED_FOR = "while read -r _ _ state _ < /proc/$PPID/stat && [ $state = R ]; do :; done"
ANY_LOGIN = "oracle"  # the proxy takes any


def run(
    work: Work, clients: Sequence[str], accounts: Sequence[Account], boxes: Sequence[Box], most: int
) -> Iterator[Oracle]:
    """Each client on up to ``most`` boxes, those that are different first.

    Raises:
        Unusable: a client is not installed, or did not end well.
    """
    for client in clients:
        if shutil.which(client) is None:
            raise Unusable(f"--oracle {client}", f"{client} is not installed")
    of = {(account.old_login, account.new_login): account for account in accounts}
    able = [box for box in boxes if box.old.messages and not box.unavailable]
    for box in sorted(able, key=lambda box: box.equal)[:most]:
        for client in clients:
            yield ask(client, work, of[box.login, box.new_login], box.downloads.uidl)


def ask(client: str, work: Work, account: Account, expected: int) -> Oracle:
    """One client, one box.

    Raises:
        Unusable: the client did not end well.
    """
    with read_only_proxy() as between, scratch("popbox-oracle-") as place:  # the client's file in it has a password
        first = _fetch(client, between, work.old, account.old_login, account.old_password, place)
        again = _fetch(client, between, work.new, account.new_login, account.new_password, place)
    return Oracle(client=client, login=account.old_login, first=first, again=again, expected=expected)


def _fetch(client: str, between: ReadOnlyProxy, host: Host, login: str, password: str, place: Path) -> int:
    """How many messages the client fetches from a host now."""

    @contextmanager
    def entered() -> Iterator[BulkPop3]:
        with host.session() as stream:
            stream.login(login, password)
            yield stream

    between.behind, between.failed = entered, ""
    before = len(between.fetched)
    words, good = _getmail(between, place) if client == "getmail" else _fetchmail(between, place)
    argv = [shutil.which(client) or client, *words]  # where our PATH has it, which the client does not get
    environment = {"PATH": os.defpath, "HOME": str(place), "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            argv, capture_output=True, encoding="utf-8", errors="replace", env=environment, timeout=RUN_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise Unusable(f"oracle {client}", f"took more than {RUN_S} s on the {host.side} host") from error
    if done.returncode not in good or between.failed:
        said = between.failed or (done.stderr or done.stdout).strip()[-500:]
        raise Unusable(f"oracle {client}, {login} on the {host.side} host", f"exit {done.returncode}: {said}")
    return len(between.fetched) - before


def _getmail(between: ReadOnlyProxy, place: Path) -> tuple[list[str], tuple[int, ...]]:
    """getmail6's arguments: it remembers UIDLs by server, port and login, and delivers to what keeps nothing."""
    rc = place / "getmailrc"
    rc.write_text(
        f"[retriever]\ntype = SimplePOP3Retriever\nserver = {between.address.host}\nport = {between.address.port}\n"
        f"username = {ANY_LOGIN}\npassword = {ANY_LOGIN}\n"
        f"[destination]\ntype = MDA_external\npath = {shutil.which('sh', path=os.defpath)}\n"
        f"arguments = ('-c', '{ONCE_WAITED_FOR}')\nignore_stderr = true\n"
        "allow_root_commands = true\n[options]\nread_all = false\ndelete = false\nmax_messages_per_session = 0\n",
        "utf-8",
    )
    return ["--getmaildir", str(place), "--rcfile", str(rc)], (0,)


def _fetchmail(between: ReadOnlyProxy, place: Path) -> tuple[list[str], tuple[int, ...]]:
    """fetchmail's, in its UIDL mode, keeping mail. Exit 1 says that there was none."""
    rc = place / "fetchmailrc"
    rc.touch(0o600)
    rc.write_text(
        f"poll {between.address.host} protocol pop3 service {between.address.port} auth password uidl\n"
        f'  username {ANY_LOGIN} password {ANY_LOGIN} keep no rewrite sslproto "" mda "cat >/dev/null"\n',
        "utf-8",
    )
    files = ["--idfile", str(place / "ids"), "--pidfile", str(place / "pid")]
    return ["-f", str(rc), "--nosyslog", *files], (0, 1)
