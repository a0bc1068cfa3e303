"""A collector on a real ``/dev/log``, for a program that is run for one conversation alone (H-29).

The program and the collector are in a mount namespace of their own, with a ``/dev`` in which nothing but they write:
the machine's own log, if it has one, gets nothing, and what others log is not mistaken for the program's.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping

from popbox.hosts.process import run_bounded

UNSHARE = ["unshare", "--mount", "--propagation", "private"]
TRY_S = 10.0  # our choice: it takes milliseconds

# argv: a directory for the new /dev, then the program. What was logged follows on stdout once the program has ended,
# as ``syslog <PRI>...`` in one line each; <36> is auth.warning (RFC 3164 §4.1.1).
PROGRAM = r"""
import os, socket, subprocess, sys, threading
dev, program = sys.argv[1], sys.argv[2:]
os.makedirs(dev, exist_ok=True)
def mount(*argv):
    subprocess.run(["mount", *argv], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
mount("-t", "tmpfs", "none", dev)
for name in ("null", "zero", "full", "random", "urandom"):
    open(f"{dev}/{name}", "w").close()
    mount("--bind", f"/dev/{name}", f"{dev}/{name}")
os.symlink("/proc/self/fd", f"{dev}/fd")
for number, name in enumerate(("stdin", "stdout", "stderr")):
    os.symlink(f"/proc/self/fd/{number}", f"{dev}/{name}")
mount("--rbind", dev, "/dev")
log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
log.bind("/dev/log")
os.chmod("/dev/log", 0o666)
heard = []
def listen():
    while (line := log.recv(65536)) != b"end":
        heard.append(line)
listener = threading.Thread(target=listen)
listener.start()
subprocess.run(program)
end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
end.sendto(b"end", "/dev/log")
listener.join()
for line in heard:
    os.write(1, b"syslog " + line.strip(b"\0\n").replace(b"\n", b"?") + b"\r\n")
"""


def cannot(environ: Mapping[str, str]) -> str:
    """Why there can be no such collector on this machine; empty when there can."""
    if os.geteuid() != 0:
        return "only root can have a /dev/log of its own"
    if shutil.which("unshare") is None:
        return "there is no unshare(1) here (util-linux)"
    done = run_bounded([*UNSHARE, "mount", "-t", "tmpfs", "none", "/dev"], within_s=TRY_S, env=environ)
    return f"no mount namespace: {done.stderr.decode(errors='replace').strip()}" if done.returncode else ""
