"""POP3 logins until TERM, then one line of JSON: the load of the Swarm test on the replicas. Boxes NAME0 NAME1 ...

Before that it prints "served ADDRESS" for each replica at its first session, and "failed" for each failure.

    python3 pop3_load.py HOST THREADS BOXES_A_THREAD PAUSE_S

A session is: resolve HOST, connect, log in, STAT, NOOP, QUIT. Whatever is not +OK, and every error, is a failure.
"""

from __future__ import annotations

import json
import poplib
import signal
import socket
import sys
import threading
import time
from collections import Counter

stopping, telling = threading.Event(), threading.Lock()
served: Counter[str] = Counter()
failures: list[str] = []


def session(host: str, login: str) -> None:
    """One login; its error is recorded."""
    address = "?"
    try:
        address = socket.gethostbyname(host)
        client = poplib.POP3(address, 110, timeout=60)
        client.user(login)
        client.pass_("testpw")
        client.stat()
        client.noop()
        client.quit()
        with telling:
            served[address] += 1
            if served[address] == 1:
                print("served", address, flush=True)
    except (OSError, poplib.error_proto) as why:
        with telling:
            failures.append(f"{time.time():.2f} {address} {login}: {why!r}")
            print("failed", flush=True)


def loop(host: str, logins: list[str], pause_s: float) -> None:
    while not stopping.is_set():
        for login in logins:
            session(host, login)
            time.sleep(pause_s)


def main() -> None:
    host, threads, each, pause_s = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    running = []
    print("loading", flush=True)
    for number in range(threads):
        logins = [f"box{number * each + one}" for one in range(each)]
        running.append(threading.Thread(target=loop, args=(host, logins, pause_s)))
        running[-1].start()
    while not stopping.wait(0.2):
        pass
    for one in running:
        one.join()
    print(json.dumps({"served": served, "failures": failures}), flush=True)


main()
