"""maillog: time before each line, counters that agree with the log and the queue; needs no engine."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from tests.exposition import parsed
from tests.popbox import ROOT
from tests.ports import free_port

MAILLOG = [sys.executable, "-I", str(ROOT / "images/mailhost/maillog.py")]
LOG = b"""status: local 0/10 remote 0/20
new msg 7
info msg 7: bytes 3 from <a@b.example> qp 8 uid 7791
starting delivery 1: msg 7 to local domain-com-joe@domain.com
starting delivery 2: msg 7 to remote x@elsewhere.example
delivery 2: deferral: delivery_1:_failure:_said_the_peer/
delivery 1: success: did_1+0+0/
starting delivery 3: msg 7 to remote x@elsewhere.example
delivery 3: failure: Sorry/
bounce msg 7 qp 9
end msg 7
alert: oh no!
triple bounce: discarding bounce/7
unterminated"""


def page(port: int, path: str = "/metrics") -> dict[str, float]:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
                return parsed(answer.read().decode())
        except urllib.error.HTTPError:
            raise
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_counts_are_the_logs_and_the_depth_is_the_queues(tmp_path: Path) -> None:
    for name in ("mess/0/4711", "mess/22/4712", "todo/4712"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    os.utime(tmp_path / "todo/4712", (time.time() - 3600,) * 2)
    os.utime(tmp_path / "mess/22/4712", (time.time() - 7200,) * 2)
    port = free_port()
    argv = [*MAILLOG, "--metrics", f"127.0.0.1:{port}", "--queue", str(tmp_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin
        assert child.stdout
        assert page(port)["popbox_queue_messages_total"] == 0
        child.stdin.write(LOG[: LOG.index(b"unterminated")])
        child.stdin.flush()
        lines = [child.stdout.readline() for _ in range(13)]
        found = page(port)
        with pytest.raises(urllib.error.HTTPError, match="404"):
            page(port, "/")
        child.stdin.write(b"unterminated")
        child.stdin.close()
        lines.append(child.stdout.readline())
        assert child.wait(60) == 0
    assert b"".join(line[31:] for line in lines) == LOG + b"\n"
    assert all(re.match(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{9}  ", line) for line in lines)
    found = {name.removeprefix("popbox_queue_"): value for name, value in found.items()}
    disk = os.statvfs(tmp_path)
    assert found["disk_size_bytes"] == disk.f_blocks * disk.f_frsize
    assert 0 < found["disk_free_bytes"] < found["disk_size_bytes"]
    assert 3600 <= found.pop("oldest_unprocessed_seconds") < 3700
    assert 7200 <= found.pop("oldest_message_seconds") < 7300
    counted = {name: value for name, value in found.items() if value and not name.startswith("disk_")}
    assert counted == {
        "messages_total": 1, "bounces_total": 1, "triple_bounces_total": 1, "alerts_total": 1,
        "depth": 2, "unprocessed": 1,
        'deliveries_total{channel="local",outcome="success"}': 1,
        'deliveries_total{channel="remote",outcome="deferral"}': 1,
        'deliveries_total{channel="remote",outcome="failure"}': 1,
    }  # fmt: skip


def test_the_gauges_of_another_program_are_on_the_page_and_nothing_else_of_its_file(tmp_path: Path) -> None:
    gauges, port = tmp_path / "gauges", free_port()
    good = "# HELP popbox_accounts_waiting 1 where.\n# TYPE popbox_accounts_waiting gauge\npopbox_accounts_waiting 1\n"
    volume = good.replace("accounts_waiting 1\n", 'volume_free_bytes{volume="users"} 7\n')
    volume = volume.replace("accounts_waiting", "volume_free_bytes")
    argv = [*MAILLOG, "--metrics", f"127.0.0.1:{port}", "--gauges", str(gauges)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as child:
        assert "popbox_accounts_waiting" not in page(port), "it is not there yet"
        gauges.write_text(good + "root:x:0:0\npopbox_queue_alerts_total secret\n\n" + volume + "popbox_torn 1")
        found = page(port)
        assert (found["popbox_accounts_waiting"], found['popbox_volume_free_bytes{volume="users"}']) == (1, 7)
        assert "popbox_torn" not in found
        assert child.stdin
        child.stdin.close()
        assert child.wait(60) == 0


def test_a_program_gets_our_signals_and_gives_its_code() -> None:
    script = "trap 'echo told >&2; exit 7' TERM; echo ready; echo up >&2; while :; do sleep 0.05; done"
    with subprocess.Popen([*MAILLOG, "sh", "-c", script], stdout=subprocess.PIPE) as child:
        assert child.stdout
        lines = {child.stdout.readline().split()[-1] for _ in range(2)}
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 7
        assert (lines, child.stdout.readline().split()[-1]) == ({b"ready", b"up"}, b"told")
    killed = subprocess.run([*MAILLOG, "sh", "-c", "kill -9 $$"], check=False)
    assert killed.returncode == 128 + signal.SIGKILL


def test_a_signal_that_interrupts_nothing_is_passed_on(tmp_path: Path) -> None:
    """To a thread other than the one that waits for a line: as if it had come just before that began to wait."""
    script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done"
    argv = [*MAILLOG, "--metrics", "127.0.0.1:0", "sh", "-c", script]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as child:
        assert child.stdout
        assert child.stdout.readline() == b"ready\n"
        others = {int(path.name) for path in Path(f"/proc/{child.pid}/task").iterdir()} - {child.pid}
        ctypes.CDLL(None).tgkill(child.pid, min(others), signal.SIGTERM)
        assert child.wait(60) == 7


def test_an_address_that_cannot_be_had_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = subprocess.run([*MAILLOG, "--metrics", address], capture_output=True, text=True, input="", check=False)
    assert (done.returncode, done.stderr.startswith(f"maillog: cannot listen on {address}")) == (111, True)
    assert subprocess.run([*MAILLOG, "--nonsense"], capture_output=True, check=False).returncode == 100


def test_a_log_that_cannot_be_written_stops_nobody() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*MAILLOG], stdout=writer, input=b"one\ntwo\n" * 10_000, check=False)
    os.close(writer)
    assert done.returncode == 0


def kept(folder: Path) -> list[bytes]:
    """The lines that are kept, oldest first."""
    paths = [*sorted(folder.glob("@*")), folder / "current"]
    return [line for path in paths for line in path.read_bytes().splitlines()]


def test_the_last_lines_are_kept_as_they_were_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    lines = [b"%07d %s" % (number, b"x" * 90) for number in range(120_000)]
    given = b"\n".join(lines) + b"\n"
    argv = [*MAILLOG, "--as-is", "--keep", str(tmp_path)]
    done = subprocess.run(argv, input=given, capture_output=True, check=True, umask=0o077)
    assert done.stdout == given
    left = kept(tmp_path)
    assert left == lines[-len(left) :], "the end of it, in order, and nothing twice"
    assert len(list(tmp_path.iterdir())) == 10
    assert 9 << 20 <= sum(path.stat().st_size for path in tmp_path.iterdir()) <= 10 << 20
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o640}


def test_a_torn_line_ends_before_the_next_and_the_time_is_kept_too(tmp_path: Path) -> None:
    (tmp_path / "current").write_bytes(b"whole\ntorn by a ki")
    argv = [*MAILLOG, "--keep", str(tmp_path), "sh", "-c", "echo new msg 7 >&2"]
    done = subprocess.run(argv, capture_output=True, check=True)
    assert kept(tmp_path) == [b"whole", b"torn by a ki", done.stdout.rstrip()]
    assert re.fullmatch(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{9}  new msg 7", kept(tmp_path)[-1])


def test_a_folder_that_cannot_be_written_stops_no_mail_and_is_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    with subprocess.Popen(
        [*MAILLOG, "--as-is", "--keep", str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin
        assert child.stdout
        for line in (b"lost\n", b"kept\n"):
            child.stdin.write(line)
            child.stdin.flush()
            assert child.stdout.readline() == line
            folder.mkdir(exist_ok=True)
        child.stdin.close()
        assert child.wait(60) == 0
    assert kept(folder) == [b"kept"]


@pytest.mark.parametrize("argv", [["--keep"], ["--as-is", "--metrics"], ["--as-is", "--nonsense", "x"]])
def test_options_without_a_value_are_refused(argv: list[str]) -> None:
    done = subprocess.run([*MAILLOG, *argv], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.startswith("usage: maillog ")) == (100, True)
