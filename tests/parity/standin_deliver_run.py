"""Runs inside the namespace: sets up /var/qmail, starts one MTA, hands in messages by SMTP, reports log and tree."""

import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HOME = Path("/var/qmail")
QUIET_S = 1.2
OPENED = re.compile(r"new msg (\d+)")


def put(path: Path, octets: bytes, mode: int, owner: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(octets)
    path.chmod(mode)
    os.chown(path, owner, owner)


def set_up(work: dict) -> None:
    for name in ("control", "users", "alias", "popboxes"):
        shutil.rmtree(HOME / name, ignore_errors=True)
        (HOME / name).mkdir(mode=0o755)
    for name, text in work["files"].items():
        put(HOME / name, base64.b64decode(text), 0o644, 0)
    owner = 888 if work["mta"] == "standin" else 7790
    os.chown(HOME / "alias", owner, -1)
    for box in work["boxes"]:
        directory = HOME / "popboxes" / box["name"]
        for name in ("Maildir/new", "Maildir/tmp", "Maildir/cur"):
            (directory / name).mkdir(parents=True, mode=0o700)
        for name, (text, mode) in box["files"].items():
            put(directory / name, base64.b64decode(text), mode, 888)
        os.mkfifo(directory / "fifo")
        (directory / "loop").symlink_to("loop")
        for path in [directory, *directory.rglob("*")]:
            os.chown(path, 888, 888, follow_symlinks=False)
        directory.chmod(box["mode"])
    subprocess.run([HOME / "bin/qmail-newu"], check=True)


def start(work: dict, log: Path) -> tuple[subprocess.Popen, int]:
    os.umask(0o077)
    with log.open("wb") as out:
        if work["mta"] == "qmail":
            path = {"PATH": f"{HOME}/bin:/usr/bin:/bin"}
            return subprocess.Popen([HOME / "bin/qmail-start", default()], stdout=out, stderr=out, env=path), 0
        shutil.rmtree(HOME / "queue")
        argv = [sys.executable, "-m", "mailhost", "--home", str(HOME), "serve", "standin"]
        argv += ["--listen", "127.0.0.1:0", "--allow-programs"]
        child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=out)
    return child, int(child.stdout.readline().rsplit(b":", 1)[1])


def default() -> bytes:
    """What the qmail image's run script passes to qmail-start."""
    return subprocess.check_output(["/bin/sh", "-c", 'printf %s "$(cat "$1")"', "sh", HOME / "control/defaultdelivery"])


def smtp(message: dict) -> bytes:
    data = base64.b64decode(message["text"]).replace(b"\n", b"\r\n")
    data = b"".join(b"." + line if line.startswith(b".") else line for line in data.splitlines(keepends=True))
    to = b"".join(b"RCPT TO:<%s>\r\n" % base64.b64decode(one) for one in message["to"])
    sender = base64.b64decode(message["sender"])
    return b"MAIL FROM:<%s>\r\n%sDATA\r\n%s.\r\nQUIT\r\n" % (sender, to, data)


def hand_in(message: dict, port: int) -> bool:
    if not port:
        done = subprocess.run(
            [HOME / "bin/qmail-smtpd"],
            input=smtp(message),
            stdout=subprocess.PIPE,
            check=False,
            env={"TCPREMOTEIP": "127.0.0.1", "TCPLOCALHOST": "mx.example.net"},
            user="qmaild",
            group="nofiles",
        )
        return b"250 ok 1" in done.stdout
    with socket.create_connection(("127.0.0.1", port), 10) as peer:
        peer.sendall(smtp(message))
        answer = b""
        while piece := peer.recv(65536):
            answer += piece
    return b"250 ok 1" in answer


def wait_up(log: Path) -> None:
    deadline = time.monotonic() + 60
    while "status: local" not in log.read_text(errors="replace"):
        if time.monotonic() > deadline:
            raise SystemExit("the MTA did not start:\n" + log.read_text(errors="replace")[-1000:])
        time.sleep(0.02)


def wait_quiet(log: Path) -> None:
    deadline, seen, since = time.monotonic() + 60, -1, time.monotonic()
    while time.monotonic() < deadline:
        size = log.stat().st_size
        if size != seen:
            seen, since = size, time.monotonic()
        lines = re.findall(r"status: local (\d+)/", log.read_text(errors="replace"))
        if time.monotonic() - since > QUIET_S and lines and lines[-1] == "0":
            return
        time.sleep(0.1)
    raise SystemExit("the MTA did not come to rest:\n" + log.read_text(errors="replace")[-1000:])


def tree() -> list:
    found = []
    for top in ("popboxes", "alias"):
        for path in sorted((HOME / top).rglob("*")):
            if path.is_file() and not path.name.startswith(".qmail"):
                name = str(path.relative_to(HOME))
                found.append((name, path.stat().st_mode & 0o777, base64.b64encode(path.read_bytes()).decode()))
    return found


def main() -> None:
    work = json.load(sys.stdin)
    set_up(work)
    with tempfile.TemporaryDirectory() as place:
        log = Path(place, "log")
        child, port = start(work, log)
        try:
            if not port:  # the stand-in has said where it listens
                wait_up(log)
            taken = [hand_in(message, port) for message in work["messages"]]
            wait_quiet(log)
        finally:
            child.send_signal(signal.SIGTERM)
            if work["mta"] == "qmail":  # qmail-start became qmail-lspawn; it ends when qmail-send does
                for line in Path("/proc/locks").read_text().splitlines():
                    inode = str((HOME / "queue/lock/sendmutex").stat().st_ino)
                    if line.split()[5].endswith(":" + inode):
                        os.kill(int(line.split()[4]), signal.SIGTERM)
            child.wait(20)
        json.dump({"taken": taken, "log": log.read_text(errors="replace"), "tree": tree()}, sys.stdout)


main()
