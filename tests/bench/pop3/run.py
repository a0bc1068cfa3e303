"""The POP3 bench: ours and its peers over the same boxes, interleaved rounds, medians, CPU per session, ratios.

``python tests/bench/pop3/run.py [--rounds N] [--only NAME,...] [--work NAME,...] [--json FILE]``; as root, since the
peers change their uid. A peer that is not installed is named as missing. The load generator is load.c, compiled here.
Each figure is the median of the rounds, and of a ratio the median of the rounds' own ratios, with the range of both.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from peers import Peer, courier, dovecot, floor, mailfront, popbox, qmail

HERE = Path(__file__).parent
HASH = "DmIMm9e5Hc8ic"
ROUND_CPU_S = 1.0
"""What leaves the boxes as they were is done until it has cost this much CPU: 0.1 s says a ratio to a tenth at best."""

# Memory where there is such a folder: the disk of a small machine is not what is measured.
FOLDER = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@dataclass(frozen=True)
class Work:
    """One row of the table: boxes of ``messages`` x ``octets``, ``sessions`` of ``mode`` on ``width`` connections."""

    name: str
    mode: str
    users: int
    messages: int
    octets: int
    width: int
    sessions: int
    goal: str


WORK = (
    Work("login+STAT+QUIT", "stat", 200, 10, 4096, 16, 1600, "CPU 9x less, sessions/s 5x more"),
    Work("fetch 10 x 4 KiB", "fetch", 200, 10, 4096, 16, 400, "CPU 4x less"),
    Work("fetch and delete 10", "delete", 200, 10, 4096, 16, 200, "CPU 3.5x less"),
    Work("fetch 500 x 8 KiB", "fetch", 4, 500, 8192, 4, 4, "CPU 1.8x less"),
    Work("fetch 20 x 10 MiB", "fetch", 1, 20, 10 << 20, 1, 2, "below mailfront"),
    Work("LIST of 50,000 first ever", "list", 1, 50_000, 600, 1, 1, "no worse than qmail's"),
    Work("LIST of 50,000 first after mailbox measure", "list", 1, 50_000, 600, 1, 1, "no worse than qmail's"),
    Work("LIST of 50,000 first after a restart", "list", 1, 50_000, 600, 1, 1, "no worse than qmail's"),
    Work("LIST of 50,000 warm", "list", 1, 50_000, 600, 1, 10, "5x less than Dovecot's"),
    Work("1,000 logged in (PSS MB)", "hold", 1000, 1, 4096, 1000, 1000, "5x less"),
)


def make_boxes(home: Path, work: Work) -> int:
    """Boxes for one row; gives the octets of one message on the wire."""
    shutil.rmtree(home / "box", ignore_errors=True)
    (home / "users").mkdir(parents=True, exist_ok=True)
    (home / "control").mkdir(exist_ok=True)
    (home / "control" / "me").write_text("mx\n")
    wire, line, began = 0, b"x" * 62 + b"\n", int(time.time()) - 2 * 86_400
    boxes = {f"u{user:04}": home / "box" / f"u{user:04}" for user in range(work.users)}
    for box in boxes.values():
        for name in ("new", "cur", "tmp"):
            (box / "Maildir" / name).mkdir(parents=True)
        for number in range(work.messages):
            head = b"Subject: %06d\n\n" % number
            body = head + line * ((work.octets - len(head)) // len(line)) + b"end\n"
            wire = len(body) + body.count(b"\n")
            date = began + number
            path = box / "Maildir" / "cur" / f"{date}.{number}.mx:2,S"
            path.write_bytes(body)
            os.utime(path, (date, date))
    logins = home / "users" / "poppasswd"
    text = "".join(f"{login}:{HASH}:popuser:{box}\n" for login, box in boxes.items())
    if not logins.exists() or logins.read_text() != text:  # new mail changes no password, so no server reads it again
        logins.write_text(text)
        logins.chmod(0o600)
    subprocess.run(["chown", "-R", "888:888", str(home / "box")], check=True)
    for path in (home / "box").glob("*/Maildir/*"):
        os.utime(path, (time.time() - 100, time.time() - 100))
    time.sleep(2.5)  # a listing is kept of directories that have been left alone for 2 s
    return wire


def load(program: Path, peer: Peer, work: Work, octets: int, sessions: int) -> dict[str, float]:
    """One run of the load generator; every reply was right when this returns."""
    arguments = [peer.port, min(work.width, sessions), sessions, work.users, work.mode, work.messages, octets]
    done = subprocess.run([str(program), *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{peer.name}: {work.name}: {done.stderr}")
    result: dict[str, float] = json.loads(done.stdout)
    return result


def hold(program: Path, peer: Peer, work: Work, octets: int) -> float:
    """PSS in MB while all sessions are logged in."""
    arguments = [peer.port, work.width, work.sessions, work.users, "hold", work.messages, octets]
    process = subprocess.Popen([str(program), *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    if not process.stdout.readline():
        raise SystemExit(f"{peer.name}: {work.name}: the sessions could not be held")
    held = peer.pss_mib()
    process.communicate(b"\n")
    return held


def one(program: Path, peer: Peer, work: Work, octets: int) -> dict[str, float]:
    """One measured run: CPU ms a session (or MB), sessions a second."""
    if work.mode == "hold":
        return {"cost": hold(program, peer, work, octets), "rate": 0.0}
    before, seconds, sessions, more = peer.cpu_s(), 0.0, 0, True
    while more:
        seconds += load(program, peer, work, octets, work.sessions)["seconds"]
        sessions += work.sessions
        more = work.mode in ("stat", "fetch") and peer.cpu_s() - before < ROUND_CPU_S
    time.sleep(0.3)  # processes that serve one session end after it
    spent = peer.cpu_s() - before
    return {"cost": spent * 1000 / sessions, "rate": sessions / seconds}


def read_all(program: Path, home: Path, work: Work, octets: int) -> dict[str, float]:
    """The floor of a first LIST: CPU ms of a C program that reads every message once and counts its octets."""
    command = [str(program), str(home / "box" / "u0000" / "Maildir" / "cur")]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    if (found["files"], found["octets"]) != (work.messages, work.messages * octets):
        raise SystemExit(f"readall: {found['files']} files of together {found['octets']} octets")
    return {"cost": found["cpu_s"] * 1000, "rate": 0.0}


def measure(work: Work, rounds: int, only: set[str], programs: Path) -> dict[str, list[dict[str, float]]]:
    """One row: all peers, interleaved; a fresh set of boxes for each round where the work deletes."""
    home = Path(tempfile.mkdtemp(prefix="popbox-bench-", dir=FOLDER))
    home.chmod(0o755)
    octets = make_boxes(home, work)
    first, fresh = " first" in work.name, work.mode == "delete"
    made = [
        popbox(home, 21100),
        popbox(home, 21105, "popbox-2", "--workers", "2"),
        popbox(home, 21107, "popbox-qmail", "--profile", "qmail"),
        dovecot(home, 21101, home / "dovecot", best=False),
        dovecot(home, 21102, home / "dovecot-best", best=True),
        qmail(home, 21103, programs / "checkpw"),
        mailfront(home, 21104, home / "mailfront"),
        courier(home, 21106, programs / "checkpw"),
    ]
    if not first and work.mode != "hold":
        made.append(floor(home, 21108, work.mode, work.messages, octets))
        made.append(floor(home, 21109, work.mode, work.messages, octets, "--files"))
    peers = [peer for peer in made if peer is not None and (not only or peer.name in only)]
    results: dict[str, list[dict[str, float]]] = {peer.name: [] for peer in peers}
    reads = work.name.endswith("first ever") and (not only or "readall" in only)
    if reads:
        results["readall"] = []
    try:
        for number in range(rounds):
            if number == 0 or first:
                for peer in peers:
                    peer.start()
            for peer in peers[number % len(peers) :] + peers[: number % len(peers)]:
                if fresh:
                    make_boxes(home, work)
                if number == 0 and not first:  # a first login hashes the password, in a thread; later ones do not
                    load(programs / "load", peer, work, octets, work.users)
                    if fresh:
                        make_boxes(home, work)
                if first:
                    forget(home)
                if work.name.endswith("measure"):
                    ahead(home)
                if work.name.endswith("restart"):
                    load(programs / "load", peer, work, octets, 1)
                    peer.restart()
                results[peer.name].append(one(programs / "load", peer, work, octets))
            if reads:
                results["readall"].append(read_all(programs / "readall", home, work, octets))
            if first:
                for peer in peers:
                    peer.stop()
    finally:
        for peer in peers:
            peer.stop()
        shutil.rmtree(home, ignore_errors=True)
    return results


def forget(home: Path) -> None:
    """Remove what Dovecot, courier and popbox keep in the boxes, so that their first LIST is a first one again."""
    for name in ("dovecot*", "courierpop3d*", "popbox-sizes*"):
        for path in home.glob(f"box/*/Maildir/{name}"):
            path.unlink()


AHEAD = """
import sys
from mailhost.pop3.maildrop.premeasure import premeasure
from mailhost.system.privileges import become
become(888, 888)
for maildir in sys.argv[1:]:
    for quirks in (False, True):
        premeasure(maildir.encode(), qmail_quirks=quirks)
"""


def ahead(home: Path) -> None:
    """What `mailhost mailbox measure` does, for both profiles: after a move or a restore, before any client comes."""
    subprocess.run([sys.executable, "-c", AHEAD, *map(str, home.glob("box/*/Maildir"))], check=True)


def main() -> None:
    """Compile, run, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--work", default="")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the servers are stopped and the boxes removed then too
    if os.geteuid():
        raise SystemExit("the peers change their uid: run this as root")
    with tempfile.TemporaryDirectory() as folder:
        programs = Path(folder)
        programs.chmod(0o755)
        for name, libraries in (("load", []), ("readall", []), ("checkpw", ["-lcrypt"])):
            command = ["cc", "-O2", "-o", str(programs / name), str(HERE / f"{name}.c"), *libraries]
            subprocess.run(command, check=True)
        table = {}
        for work in WORK:
            if not given.work or any(part in work.name for part in given.work.split(",")):
                only = set(filter(None, given.only.split(",")))
                table[work.name] = measure(work, given.rounds, only, programs)
                show(work, table[work.name])
    if given.json:
        given.json.write_text(json.dumps(table, indent=1) + "\n")


def show(work: Work, row: dict[str, list[dict[str, float]]]) -> None:
    """One row: cost of each, and ours against the best peer and the floors."""
    costs = {name: [run["cost"] for run in runs] for name, runs in row.items()}
    for name, runs in row.items():
        rate = statistics.median(run["rate"] for run in runs)
        print(f"{work.name}: {name} {spread(costs[name])}" + (f", {rate:,.0f}/s" if rate else ""))
    ours = costs.get("popbox")
    if ours is None:
        return
    floors = [name for name in ("floor", "floor-files", "readall") if name in row]
    others = {
        name: statistics.median(costs[name]) for name in row if not name.startswith("popbox") and name not in floors
    }
    best = [min(others, key=others.__getitem__)] if others else []
    ratios = [f"{name} / popbox {spread(divided(costs[name], ours))}" for name in best]
    ratios += [f"popbox / {name} {spread(divided(ours, costs[name]))}" for name in floors]
    print(f"{work.name}: {'; '.join(ratios)}; goal: {work.goal}", flush=True)


def divided(above: list[float], below: list[float]) -> list[float]:
    """The ratio of each round."""
    return [a / max(b, 1e-9) for a, b in zip(above, below, strict=True)]


def spread(values: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


if __name__ == "__main__":
    main()
