"""What shows that a certificate was renewed, and why one cannot be used, as the log says it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailhost.system.pem import marks

ASK = """
import os, sys
from pathlib import Path
from mailhost.system import pem
if os.geteuid() == 0:
    os.setgroups([890])
    os.setgid(888)
    os.setuid(888)
print(pem.why_unusable([Path(name) for name in sys.argv[1:]], OSError("what ssl said")))
"""


@pytest.fixture
def key() -> Iterator[Path]:
    """In a directory any user may search: pytest makes its own one private again whenever another pytest starts."""
    with tempfile.TemporaryDirectory(prefix="popbox-pem-") as name:
        Path(name).chmod(0o755)
        path = Path(name, "inner", "privkey.pem")
        path.parent.mkdir(mode=0o755)
        path.write_text("x")
        yield path


def asked(*files: Path) -> str:
    """By popuser where we are root, who may read everything; otherwise by ourselves."""
    done = subprocess.run([sys.executable, "-c", ASK, *map(str, files)], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def who() -> str:
    groups = [888, 890] if os.geteuid() == 0 else sorted({os.getegid(), *os.getgroups()})
    return f"uid {os.geteuid() or 888} with the groups {' '.join(map(str, groups))}"


def test_a_file_that_may_not_be_read_is_named_with_owner_mode_and_rule(key: Path) -> None:
    key.chmod(0)
    assert (
        asked(key) == f"{key}: belongs to {os.geteuid()}:{os.getegid()} with mode 0000; {who()} must be able to read it"
    )


def test_a_folder_that_may_not_be_searched_is_named(key: Path) -> None:
    key.parent.chmod(0o600)
    owner = f"belongs to {os.geteuid()}:{os.getegid()} with mode 0600"
    assert asked(key) == f"{key}: the folder {key.parent} {owner}; {who()} must be able to search it"
    key.parent.chmod(0o755)


def test_a_missing_file_and_one_that_is_no_key(key: Path) -> None:
    assert asked(key, key.parent / "none") == f"{key.parent / 'none'}: No such file or directory"
    assert asked(key) == f"{key}: not a certificate and its key in PEM: what ssl said"


def test_a_renewal_changes_the_marks_and_a_look_does_not(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert", tmp_path / "key"
    cert.write_text("old")
    before = marks(cert, key)
    assert before[1] is None, "it is not there yet"
    assert (marks(cert, key), marks(cert, None), marks(None, None)) == (before, before[:1], ())
    key.write_text("x")
    with_key = marks(cert, key)
    assert (with_key[0], with_key[1] is None) == (before[0], False)
    old = cert.stat()
    (tmp_path / "next").write_text("new")
    os.utime(tmp_path / "next", ns=(old.st_atime_ns, old.st_mtime_ns))
    (tmp_path / "next").replace(cert)
    assert marks(cert, key) != with_key, "another file, of the same date and size"
