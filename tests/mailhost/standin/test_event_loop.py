"""The event loop, used by other threads and in a process whose every third write fails."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from tests.mailhost.standin.support import WITHIN_S, Home, Serve, wait_for
from tests.needs import program

from mailhost.standin.event_loop import factory

MESSAGE = b"HELO a\r\nMAIL FROM:<s@d.com>\r\nRCPT TO:<joe@d.com>\r\nDATA\r\nSubject: %s\r\n\r\nx\r\n.\r\nQUIT\r\n"


def test_calls_of_other_threads_come_in_order_and_their_trouble_is_told() -> None:
    seen: list[int] = []
    told: list[str] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: told.append(repr(context.get("exception"))))
        ended = asyncio.Event()

        def calls() -> None:
            for number in range(10_000):
                loop.call_soon_threadsafe(seen.append, number)
            loop.call_soon_threadsafe([].pop)
            loop.call_soon_threadsafe(ended.set)

        loop.call_soon_threadsafe(seen.append, -1).cancel()
        thread = threading.Thread(target=calls)
        thread.start()
        await asyncio.wait_for(ended.wait(), 30)
        assert await asyncio.to_thread(lambda: 7) == 7
        thread.join()

    with asyncio.Runner(loop_factory=factory()) as runner:
        loop = runner.get_loop()
        runner.run(run())
    assert seen == list(range(10_000))
    assert told == ["IndexError('pop from empty list')"]
    with pytest.raises(RuntimeError):
        loop.call_soon_threadsafe(seen.append, 0)


@pytest.mark.needs("root", "strace")  # it traces another user's process
@pytest.mark.parametrize("error", ["ENOSPC", "EDQUOT"])
def test_every_third_write_fails_and_neither_process_nor_accepted_mail_is_lost(
    home: Home, serve: Serve, tmp_path: Path, error: str
) -> None:
    home.box("joe")
    server = serve()
    accepted: list[bytes] = []

    def send(number: int) -> None:
        token = b"token-%d-" % number
        with contextlib.suppress(OSError):  # a reply may be the write that fails
            if b" qp " in server.talk(MESSAGE % token):
                accepted.append(token)

    trace = tmp_path / "trace"
    inject = ("-e", "trace=write", "-e", f"inject=write:error={error}:when=3+3")
    strace = subprocess.Popen([program("strace"), "-f", "-qq", "-o", trace, *inject, "-p", str(server.child.pid)])
    status = Path(f"/proc/{server.child.pid}/status")
    wait_for(lambda: "TracerPid:\t0\n" not in status.read_text(), "the tracer")
    for number in range(60):
        send(number)
    strace.terminate()
    strace.wait(WITHIN_S)
    assert server.child.poll() is None, server.log[-2000:]
    assert trace.read_text().count("(INJECTED)") > 30
    send(60)
    assert accepted
    assert accepted[-1] == b"token-60-"
    server.kill()
    again = serve()

    def delivered() -> bool:
        again.signal(signal.SIGALRM)
        return not home.queued()

    wait_for(delivered, "an empty queue", 60)
    found = {re.search(rb"token-\d+-", text)[0] for text in home.mail()}  # type: ignore[index]
    assert set(accepted) <= found
    assert os.listdir(home.path / "queue/standin/tmp") == []
