"""``checkpoppasswd``: the HOWTO's password checker, with the interface of checkpassword.

Synopsis: ``checkpoppasswd [--file POPPASSWD] [--else PROGRAM] [--log-failed-passwords] [--upgrade-hashes-on-login]
SUBPROGRAM [ARG...]``

Descriptor 3 carries login, password and timestamp, each ended by a NUL (Q-CPW-1, Q-CPW-2). Exit codes: 1 not
acceptable, 2 misuse, 111 cannot tell now. One program run for each login: only quick imports here.
"""

from __future__ import annotations

import os
import sys
import syslog
import time
import warnings  # noqa: F401 - os.execvp imports it, when the new uid may no longer be able to read the library

from mailhost.poppasswd.crypt import DUMMY_HASH, scheme_of, verify, weak
from mailhost.poppasswd.file import PoppasswdError, Row, find
from mailhost.poppasswd.temporary import TemporaryFile
from mailhost.system import privileges

REFUSED, MISUSE, TEMPORARY = 1, 2, 111
DEFAULT_FILE = "/var/qmail/users/poppasswd"
INPUT_OCTETS = 512
"""Q-CPW-1: 512 octets pass, 513 do not."""
FLAGS = ("--log-failed-passwords", "--upgrade-hashes-on-login")
IN_HOME = "/users/poppasswd"
FAIL_DELAY_S = 2
"""H-28; from the claim on, the same for a wrong password and an unknown login, whatever their hash costs."""


class Exit(Exception):
    """Leave with this code; ``reason`` goes to syslog."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def main() -> None:
    """The program; replaces itself by the subprogram or exits."""
    try:
        run(sys.argv[1:])
    except Exit as failure:
        if failure.code != REFUSED:
            sys.stderr.write(f"checkpoppasswd: {failure}\n")
            log(str(failure))
        sys.exit(failure.code)


def run(arguments: list[str]) -> None:
    """Check the login on descriptor 3 and become the subprogram.

    Raises:
        Exit: with the code to leave with.
    """
    options, subprogram = parse_arguments(arguments)
    data = read_input()
    began = time.monotonic()
    login, password = split_input(data)
    row = look_up(options["--file"], login)
    if row is None and options["--else"]:
        pass_on(data, [options["--else"], *subprogram])
    good, own = verify(password, DUMMY_HASH if row is None else row.crypt), True
    if not good and row is not None and scheme_of(row.crypt) is not None:  # a locked login stays locked
        good, own = by_temporary(options["--file"], login, password), False
    if not good or row is None:
        shown = f", password {text(password)}" if options["--log-failed-passwords"] else ""
        log(f"{'unknown login' if row is None else 'wrong password'}: {text(login)}{shown}")
        spent = time.monotonic() - began
        time.sleep(FAIL_DELAY_S - spent % FAIL_DELAY_S)  # whatever the check cost, so that it tells nothing
        raise Exit(REFUSED, "refused")
    if own and options["--upgrade-hashes-on-login"] and weak(row.crypt):
        upgrade(options["--file"], login, password)
    enter(row)
    log(f"login{'' if own else ' by temporary password'}: {text(login)}")
    execute(subprogram)


def parse_arguments(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """Options and the subprogram; no getopt or argparse, whose imports cost more than the check.

    Raises:
        Exit: 2, the arguments are unusable.
    """
    options = {"--file": DEFAULT_FILE, "--else": "", **dict.fromkeys(FLAGS, "")}
    rest = list(arguments)
    while rest and rest[0].startswith("--"):
        name, equals, value = rest.pop(0).partition("=")
        if name not in options:
            raise Exit(MISUSE, f"unknown option {name}")
        if name in FLAGS:
            value = "yes"
        elif not equals:
            value = rest.pop(0) if rest else ""
        options[name] = value
    if not rest:
        raise Exit(MISUSE, "usage: checkpoppasswd [--file POPPASSWD] [--else PROGRAM] SUBPROGRAM [ARG...]")
    if options["--upgrade-hashes-on-login"] and not options["--file"].endswith(IN_HOME):
        raise Exit(MISUSE, f"--upgrade-hashes-on-login: {options['--file']} is no {IN_HOME} of a host")
    return options, rest


def read_input() -> bytes:
    """Everything on descriptor 3, which is then closed (Q-CPW-1).

    Raises:
        Exit: 1 for too many octets, 2 where there is no descriptor 3, 111 where reading fails.
    """
    data = b""
    try:
        while len(data) <= INPUT_OCTETS and (piece := os.read(3, INPUT_OCTETS + 1 - len(data))):
            data += piece
        os.close(3)
    except OSError as error:
        raise Exit(MISUSE if not data else TEMPORARY, f"descriptor 3: {error.strerror}") from None
    if len(data) > INPUT_OCTETS:
        raise Exit(REFUSED, "more than 512 octets on descriptor 3")
    return data


def split_input(data: bytes) -> tuple[bytes, bytes]:
    """Login and password; what follows them does not matter (Q-CPW-2).

    Raises:
        Exit: 2, there are not two fields.
    """
    fields = data.split(b"\0")
    if len(fields) < 3:
        raise Exit(MISUSE, "descriptor 3 holds no login and password")
    return fields[0], fields[1]


def look_up(path: str, login: bytes) -> Row | None:
    """The row of ``login``, or None.

    Raises:
        Exit: 111, the file cannot be read: that is no reason to call a password wrong.
    """
    try:
        return find(path, login)
    except OSError as error:
        raise Exit(TEMPORARY, f"{path}: {error.strerror}") from None
    except PoppasswdError as error:
        raise Exit(TEMPORARY, str(error)) from None


def by_temporary(path: str, login: bytes, password: bytes) -> bool:
    """Whether it is a temporary password of this login that counts now; a file that cannot be read admits no one."""
    try:
        crypt = TemporaryFile(path).crypt(login)
    except OSError as error:
        log(f"{path}.temporary: {error.strerror}")
        return False
    return crypt is not None and verify(password, crypt)


def upgrade(path: str, login: bytes, password: bytes) -> None:
    """Have the weak hash of a proven login replaced (see ``rehash``), by a process that is not the session's child."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        from mailhost.pop3.auth import rehash

        rehash.start(os.path.abspath(path).removesuffix(IN_HOME), login, password)
    except OSError as error:
        log(f"hash of {text(login)} not upgraded: {error.strerror}")
    finally:
        os._exit(0)


def pass_on(data: bytes, command: list[str]) -> None:
    """Let another checkpassword decide about a login that is not in the file: the same octets on descriptor 3."""
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    if reader != 3:
        os.dup2(reader, 3)
        os.close(reader)
    os.set_inheritable(3, True)
    execute(command)


def enter(row: Row) -> None:
    """Be the real user, in the box's home, with USER, HOME and SHELL set (Q-CPW-4, Q-CPP-3, Q-CPP-4).

    Raises:
        Exit: 1 where the uid cannot be changed, 111 where account or home is unavailable.
    """
    shell = "/bin/sh"
    if os.geteuid() == 0:
        try:
            uid, gid, shell = privileges.account(os.fsdecode(row.realuser))
        except KeyError:
            raise Exit(TEMPORARY, f"no system account {text(row.realuser)}") from None
        try:
            privileges.become(uid, gid)
        except OSError as error:
            raise Exit(REFUSED, f"cannot become {text(row.realuser)}: {error}") from None
    try:
        os.chdir(row.home)
    except OSError as error:
        raise Exit(TEMPORARY, f"home of {text(row.login)}: {error.strerror}") from None
    os.environb.update({b"USER": row.realuser, b"HOME": row.home, b"SHELL": os.fsencode(shell)})


def execute(command: list[str]) -> None:
    """Become ``command``, found through PATH (execvp(3)).

    Raises:
        Exit: 111, it cannot be run.
    """
    try:
        os.execvp(command[0], command)  # noqa: S606 - running what the command line names is the interface
    except OSError as error:
        raise Exit(TEMPORARY, f"cannot run {command[0]}: {error.strerror}") from None


def text(octets: bytes) -> str:
    """Octets for a log line: printable ASCII as it is, the rest escaped, so that no login can forge a line."""
    return repr(octets)[1:]


def log(message: str) -> None:
    """To syslog as auth.warning (H-29)."""
    syslog.openlog("checkpoppasswd", syslog.LOG_PID, syslog.LOG_AUTH)
    syslog.syslog(syslog.LOG_AUTH | syslog.LOG_WARNING, message)


if __name__ == "__main__":
    main()
