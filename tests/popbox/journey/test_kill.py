"""A recorder that is killed at any moment, again and again, tells the same as one that is not, and nothing twice."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from popbox.hosts.following import FileFollower
from popbox.journey.recorder import Recorder
from popbox.journey.store import Filters, Store

MESSAGES = 2000
KILLS = 12
RUN = """
import sys, time
from pathlib import Path
from popbox.hosts.following import FileFollower
from popbox.journey import recorder
from popbox.journey.store import Store
recorder.MOST_LINES = 50
one = recorder.Recorder(Store.open(Path(sys.argv[1])), lambda at: FileFollower(Path(sys.argv[2]), at))
print("up", flush=True)
while True:
    one.run_pass()
    time.sleep(0.001)
"""


def lines(number: int) -> str:
    """A message to two recipients, one of which is put off first; numbers and pids come again."""
    inode, qp, first = 100 + number % 50, 1000 + number % 700, 3 * number
    started = f"msg {inode} to local"
    return (
        f"info msg {inode}: bytes {300 + number} from <shop@client.example> qp {qp} uid 1\n"
        f"starting delivery {first}: {started} joe@d.org\nstarting delivery {first + 1}: {started} ann@d.org\n"
        f"delivery {first}: deferral: later/\ndelivery {first + 1}: success: did_1+0+0/\n"
        f"starting delivery {first + 2}: {started} joe@d.org\ndelivery {first + 2}: success: did_0+0+1/\n"
        f"end msg {inode}\n"
    )


def test_killed_at_any_moment(tmp_path: Path) -> None:
    log, path, chance = tmp_path / "maillog", tmp_path / "journeys.db", random.Random(7)
    text = "".join(lines(number) for number in range(MESSAGES))
    written = 0
    for kill in range(KILLS):
        child = subprocess.Popen([sys.executable, "-c", RUN, str(path), str(log)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        upto = len(text) * (kill + 1) // KILLS
        with log.open("a") as file:
            file.write(text[written:upto])
        written = upto
        time.sleep(chance.random() / 4)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    with Store.open(path) as store, Store.open(tmp_path / "whole.db") as whole:
        for one in (store, whole):
            recorder = Recorder(one, lambda position: FileFollower(log, position))
            recorder.run_pass()
        told, wanted = (
            [one.journey(of) for of in one.search(Filters(), limit=MESSAGES + 1, oldest_first=True)]
            for one in (store, whole)
        )
        assert len(told) == len(wanted) == MESSAGES
        for one, other in zip(told, wanted, strict=True):
            assert one is not None
            assert other is not None
            assert (one.message.queued_as, one.message.octets) == (other.message.queued_as, other.message.octets)
            assert [(to.routed, to.end, to.why) for to in one.message.recipients] == [
                (to.routed, to.end, to.why) for to in other.message.recipients
            ]
            assert (one.end, one.ended, one.alarms) == (other.end, other.ended, other.alarms)
        assert len(store.events_since(0, 10**6)) == len(whole.events_since(0, 10**6))
