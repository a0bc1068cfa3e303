"""What the MTA's log says of a message that needs explaining: all its lines, and none of another one with its qp."""

from __future__ import annotations

import json
from pathlib import Path

from tests.popbox.fakehost import FakeHost

from popbox.hosts.base import Service
from popbox.journey.feeds.shown import ShownLog
from popbox.load.books.judge import EVIDENCE, Case
from popbox.load.books.recorded import BEGAN
from popbox.load.stage.logs import evidence

LOG = """\
new msg 7
info msg 7: bytes 9000 from <a@b> qp 1077 uid 888
starting delivery 1: msg 7 to local joe@a
new msg 8
info msg 8: bytes 2300 from <a@b> qp 1077 uid 888
starting delivery 2: msg 8 to local joe@a
delivery 1: success: did_0+0+1/
end msg 7
status: exiting
new msg 8
info msg 8: bytes 2300 from <a@b> qp 1077 uid 888
starting delivery 1: msg 8 to local joe@a
delivery 1: success: did_0+0+1/
end msg 8
"""


class Logging(FakeHost):
    """A host whose log can be followed."""

    def follow(self, service: Service, _position: str = "") -> ShownLog:
        return ShownLog(lambda: self.logs[service])


def test_each_line_of_the_message_is_kept_and_none_of_another(tmp_path: Path) -> None:
    host = Logging(logs={"smtp": LOG})
    cases = [Case("doubled", "t1", box, "2 copies", octets=2_000, qp=1_077) for box in ("joe@a", "ann@a")]
    evidence(host, cases, tmp_path)
    assert json.loads((tmp_path / EVIDENCE).read_text()) == {
        "t1": [
            "info msg 8: bytes 2300 from <a@b> qp 1077 uid 888",
            "starting delivery 2: msg 8 to local joe@a",
            "info msg 8: bytes 2300 from <a@b> qp 1077 uid 888",
            BEGAN,
            "starting delivery 1: msg 8 to local joe@a",
            "delivery 1: success: did_0+0+1/",
            "end msg 8",
        ]
    }


def test_a_message_without_a_qp_has_no_evidence(tmp_path: Path) -> None:
    evidence(Logging(logs={"smtp": LOG}), [Case("lost", "t1", "joe@a", "gone", octets=2_000)], tmp_path)
    assert not (tmp_path / EVIDENCE).exists()


class Slow(Logging):
    """Its log is shown by a program, which has nothing to show at first."""

    def follow(self, service: Service, _position: str = "") -> ShownLog:
        shows = iter(["", LOG[:300]])
        return ShownLog(lambda: next(shows, self.logs[service]))


def test_a_log_that_comes_late_and_in_pieces_is_read_to_its_end(tmp_path: Path) -> None:
    evidence(Slow(logs={"smtp": LOG}), [Case("doubled", "t1", "joe@a", "", octets=2_000, qp=1_077)], tmp_path)
    assert json.loads((tmp_path / EVIDENCE).read_text())["t1"][-1] == "end msg 8"
