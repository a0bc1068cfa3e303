"""The lines of a log that are about one test's own messages and sessions."""

from __future__ import annotations

import json

from popbox.journey.join.whose import mail_lines, pop3_lines

OURS = """\
@4000000066aabbcc00000000 new msg 7
info msg 7: bytes 9 from <x@popbox.invalid> qp 70 uid 1
starting delivery 1: msg 7 to local d-com-joe@Our.example
delivery 1: success: did_0+1+0/qp_71/
end msg 7
new msg 8
info msg 8: bytes 9 from <x@popbox.invalid> qp 71 uid 1
starting delivery 3: msg 8 to remote eve@elsewhere.example
delivery 3: failure: no/
bounce msg 8 qp 72
end msg 8
new msg 7
info msg 7: bytes 9 from <> qp 72 uid 1
starting delivery 4: msg 7 to local postmaster@other.example
delivery 4: deferral: later/
warning: trouble opening remote/7; will try again later
"""
THEIRS = """\
new msg 9
info msg 9: bytes 9 from <x@popbox.invalid> qp 90 uid 1
starting delivery 2: msg 9 to local d-com-joe@their.example
2026-11-28 15:00:00.1 status: local 1/10 remote 0/20
delivery 2: success: did_1+0+0/
end msg 9
new msg 8
info msg 8: bytes 9 from <x@popbox.invalid> qp 91 uid 1
starting delivery 1: msg 8 to local joe@our.example.org
delivery 1: success: did_1+0+0/
end msg 8
delivery 99: success: of a message that began before/
"""


def test_messages_of_ours_with_their_copies_and_bounces_are_shown_and_no_others() -> None:
    both = "".join(THEIRS.splitlines(keepends=True)[:3]) + OURS + "".join(THEIRS.splitlines(keepends=True)[3:])
    assert mail_lines(both, {"our.example"}, ()) == OURS.splitlines()
    assert mail_lines(both, (), {"70"}) == OURS.splitlines()
    assert mail_lines(both, (), {"72"})[0] == "new msg 7"
    assert mail_lines(both, (), ()) == ["warning: trouble opening remote/7; will try again later"]


def test_sessions_of_our_logins_are_shown_and_no_others() -> None:
    def line(**said: object) -> str:
        return json.dumps(said)

    ours = [line(event="retrieved", id="<1>", login="joe"), line(event="session", id="<1>", login="joe")]
    theirs = [line(event="retrieved", id="<2>", login="eve"), line(event="tls", id="<2>")]
    no_ones = [line(event="worker died", pid=3), "plain text", "{broken", line(event="session", id="<3>", login="")]
    assert pop3_lines("\n".join([theirs[0], *ours, *theirs, *no_ones]), {"joe"}) == [*ours, *no_ones]
