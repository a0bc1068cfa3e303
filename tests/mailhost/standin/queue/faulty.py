"""Runs ``python -m mailhost ...`` with a disk that fails as told by a file: ``faulty.py FILE PYTHON -m mailhost ARGS``.

FILE holds nothing (all is well) or ``CALL[,CALL...] WHAT``: these calls of ``os`` fail on files of the queue and of the
Maildirs, with errno WHAT, or with the exception of that name in place of an OSError.
"""

import builtins
import os
import runpy
import sys
from pathlib import Path

TELLER = Path(sys.argv[1])
PLACES = ("/queue/standin/", "/Maildir/")
CALLS = ("open", "write", "fsync", "close", "rename", "link", "unlink", "pread")


def place_of(argument):
    if isinstance(argument, int):
        try:
            return str(Path(f"/proc/self/fd/{argument}").readlink())
        except OSError:
            return ""
    return os.fsdecode(argument)


def trouble(what, path):
    if what.isdigit():
        return OSError(int(what), os.strerror(int(what)), path)
    return getattr(builtins, what)("injected")


def failing(name, real):
    def call(*args, **kwargs):
        calls, _, what = TELLER.read_text().partition(" ")
        path = place_of(args[0]) if name in calls.split(",") else ""
        hit = what and any(place in path + "/" for place in PLACES)
        if hit and not (name == "open" and not args[1] & os.O_CREAT):
            if name == "close":
                real(*args, **kwargs)
            raise trouble(what, path)
        return real(*args, **kwargs)

    return call


for name in CALLS:
    setattr(os, name, failing(name, getattr(os, name)))
sys.argv = ["mailhost", *sys.argv[5:]]
runpy.run_module("mailhost", run_name="__main__", alter_sys=True)
