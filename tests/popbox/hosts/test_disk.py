"""A small disk can be made read-only while mail is delivered to it: the kernel refuses that while a file is open."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from popbox.hosts.disk import mount, remount

# In a mount namespace of its own: mounts, has a file open for writing for half a second, makes the disk read-only.
PROGRAM = """
import json, subprocess, sys, threading
mount, remount, path = json.loads(sys.argv[1])
subprocess.run(mount, check=True)
file = open(path + "/open", "w")
threading.Timer(0.5, file.close).start()
done = subprocess.run(remount, capture_output=True, text=True)
try:
    open(path + "/more", "w")
except OSError as error:
    print(done.returncode, error.strerror, done.stderr)
"""


@pytest.mark.needs("root", "mount namespace")
def test_a_delivery_in_progress_only_puts_it_off(tmp_path: Path) -> None:
    assert in_a_namespace(mount(str(tmp_path)), remount(str(tmp_path), True), str(tmp_path)) == (
        "0 Read-only file system \n"
    )


@pytest.mark.needs("root", "mount namespace")
def test_another_failure_is_told_at_once(tmp_path: Path) -> None:
    slept, sleep = tmp_path / "slept", tmp_path / "sleep"
    sleep.write_text(f"#!/bin/sh\ntouch {shlex.quote(str(slept))}\n")
    sleep.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(remount(str(tmp_path), True), capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 32
    assert str(tmp_path) in done.stderr
    assert not slept.exists()


def in_a_namespace(*words: object) -> str:
    argv = ["unshare", "-m", sys.executable, "-c", PROGRAM, json.dumps(words)]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout
