"""Giving up root for popuser: no group and no id stays behind to return by."""

from __future__ import annotations

import pwd
import subprocess
import sys

import pytest

from mailhost.system import privileges

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


@pytest.mark.needs("root")
def test_becoming_popuser_leaves_no_group_and_no_way_back() -> None:
    assert ran(BECOME) == ["(888, 888, 888) (888, 888, 888) [888]", "no", "no", "no"]


def test_a_uid_that_does_not_change_is_an_error() -> None:
    code = "import os\nfrom mailhost.system import privileges\nos.getresuid = lambda: (1, 1, 1)\n"
    code += "os.setgroups = os.setresgid = os.setresuid = lambda *_: None\n"
    code += "try:\n    privileges.become(888, 888)\nexcept OSError as error:\n    print(error)\n"
    assert ran(code) == ["the uid has not changed"]


def test_only_popuser_has_numbers_without_an_account() -> None:
    def unknown(name: str) -> None:
        raise KeyError(name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pwd.getpwnam", unknown)
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
