"""What a server gives up before it serves, seen from outside, and that becoming popuser leaves no group behind."""

from __future__ import annotations

import pwd
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.mailhost.pop3.support import Running

from mailhost.system import privileges

DUMPABLE = "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
BECOME = """
import os
from mailhost.system import privileges
os.setgroups([0, 4, 42])
privileges.become(888, 888)
print(os.getresuid(), os.getresgid(), os.getgroups())
for give in (lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.setgroups([0])):
    try:
        give()
    except PermissionError:
        print("no")
"""


def ran(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_harden_leaves_no_core_no_looking_in_and_no_way_up() -> None:
    before = f"{DUMPABLE}; from mailhost.pop3.server.hardening import harden; harden(); {DUMPABLE}"
    assert ran(before) == ["1", "0"]
    now = "import resource, re; from mailhost.pop3.server.hardening import harden; harden(); "
    now += "print(resource.getrlimit(resource.RLIMIT_CORE)); "
    now += "print(re.search(r'NoNewPrivs:.([01])', open('/proc/self/status').read())[1])"
    assert ran(now) == ["(0, 0)", "1"]


def test_a_server_that_serves_has_given_that_up(serve: Callable[..., Running]) -> None:
    status = Path(f"/proc/{serve().process.pid}/status").read_text()
    assert re.search(r"^NoNewPrivs:\s1$", status, re.MULTILINE)


@pytest.mark.needs("root")
def test_becoming_popuser_leaves_no_group_and_no_way_back() -> None:
    assert ran(BECOME) == ["(888, 888, 888) (888, 888, 888) [888]", "no", "no", "no"]


def test_it_says_so_where_it_cannot_become_anybody() -> None:
    code = "import os\nfrom mailhost.system import privileges\nos.getresuid = lambda: (1, 1, 1)\n"
    code += "os.setgroups = os.setresgid = os.setresuid = lambda *_: None\n"
    code += "try:\n    privileges.become(888, 888)\nexcept OSError as error:\n    print(error)\n"
    assert ran(code) == ["the uid has not changed"]


def test_only_popuser_has_numbers_without_an_account() -> None:
    def nobody(name: str) -> None:
        raise KeyError(name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pwd.getpwnam", nobody)
        assert privileges.account() == (888, 888, "/bin/sh")
        with pytest.raises(KeyError):
            privileges.account("joe")
    root = privileges.account("root")
    assert root[:2] == (0, 0)
    assert root[2].startswith("/")


@pytest.mark.parametrize(("shell", "told"), [("/bin/zsh", "/bin/zsh"), ("", "/bin/sh")])
def test_an_account_without_a_shell_has_sh(monkeypatch: pytest.MonkeyPatch, shell: str, told: str) -> None:
    entry = pwd.struct_passwd(("popuser", "x", 900, 901, "", "/", shell))
    monkeypatch.setattr("pwd.getpwnam", lambda _: entry)
    assert privileges.account() == (900, 901, told)


def test_all_the_descriptors_that_are_allowed_are_taken() -> None:
    code = "import resource\nfrom mailhost.pop3.server import hardening\nlimit = resource.RLIMIT_NOFILE\n"
    code += "resource.setrlimit(limit, (64, 128))\nhardening.raise_descriptor_limit()\n"
    code += "print(resource.getrlimit(limit))\n"
    assert ran(code) == ["(128, 128)"]
