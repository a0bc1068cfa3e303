"""What a server gives up before it serves, seen from outside."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.mailhost.pop3.support import Running

DUMPABLE = "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"


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


def test_all_the_descriptors_that_are_allowed_are_taken() -> None:
    code = "import resource\nfrom mailhost.pop3.server import hardening\nlimit = resource.RLIMIT_NOFILE\n"
    code += "resource.setrlimit(limit, (64, 128))\nhardening.raise_descriptor_limit()\n"
    code += "print(resource.getrlimit(limit))\n"
    assert ran(code) == ["(128, 128)"]
