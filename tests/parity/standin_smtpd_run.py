"""Runs inside the namespace: each dialogue through the real qmail-smtpd, its queue replaced by a recorder."""

import base64
import contextlib
import ctypes
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
# A refused message comes with no envelope; qmail-queue ends with 54 then.
RECORDER = """#!/bin/sh
cat > "$RECORD.m"
cat <&1 > "$RECORD.e"
test -s "$RECORD.e" || exit 54
mv "$RECORD.m" "$RECORD.message"
mv "$RECORD.e" "$RECORD.envelope"
"""


def main() -> None:
    work = json.load(sys.stdin)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    answers = []
    with tempfile.TemporaryDirectory() as place:
        recorder = Path(place, "recorder")
        recorder.write_text(RECORDER)
        recorder.chmod(0o755)
        for number, one in enumerate(work):
            answers.append(run(one, recorder, Path(place, str(number))))
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()  # recorders that qmail-smtpd left behind when it hung up; they write into ``place``
    json.dump(answers, sys.stdout)


def run(one: dict, recorder: Path, record: Path) -> dict:
    for name, text in one.get("controls", {}).items():
        Path("/var/qmail/control", name).write_bytes(base64.b64decode(text))
    environment = {**one["environment"], "QMAILQUEUE": str(recorder), "RECORD": str(record)}
    done = subprocess.run(
        ["/var/qmail/bin/qmail-smtpd"],
        input=base64.b64decode(one["input"]),
        stdout=subprocess.PIPE,
        env=environment,
        timeout=20,
        check=False,
    )
    answer = {"output": base64.b64encode(done.stdout).decode(), "status": done.returncode}
    for part in ("message", "envelope"):
        file = record.with_suffix("." + part)
        answer[part] = base64.b64encode(file.read_bytes() if file.exists() else b"").decode()
    return answer


main()
