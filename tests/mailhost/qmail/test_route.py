"""Whole routes: every decision with file and line, every kind of outcome (E-*, H-*)."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.mailhost.qmail.support import UID, Home

from mailhost.qmail.dotqmail import BLANK_FIRST, NO_MAILBOX, TOO_LONG
from mailhost.qmail.lookup import CDB_TROUBLE, ROOT
from mailhost.qmail.route import LOOPING, MOST_FORWARDS, Outcome, Route, Step, route


def go(host: Home, address: str) -> Route:
    return route(host.path, address.encode())


def test_h_2_h_12_the_way_of_the_howtos_joe(howto: Home) -> None:
    routed = go(howto, "joe@domain.com")
    home = str(howto.path / "box/joe")
    assert (routed.outcome, routed.stage, routed.failure, routed.arrives) == (Outcome.DELIVERED, "delivery", None, True)
    assert routed.steps == (
        Step("rcpthosts", "control/rcpthosts", 1, b"domain.com", b""),
        Step("virtualdomains", "control/virtualdomains", 1, b"domain.com", b"domain-com-joe@domain.com"),
        Step("assign", "users/assign", 1, b"domain-com-joe", home.encode()),
        Step("dotqmail", f"{home}/.qmail", 0, b".qmail", b""),
    )
    assert routed.assignment is not None
    assert routed.assignment.uid == UID
    assert [delivery.instruction.argument for delivery in routed.deliveries] == [b"./Maildir/"]


def test_e_3_case_does_not_matter_and_is_kept(howto: Home) -> None:
    routed = go(howto, "JOE@DOMAIN.COM")
    assert (routed.outcome, routed.rewritten) == (Outcome.DELIVERED, b"domain-com-JOE@DOMAIN.COM")


def test_h_12_q_lsp_3_the_box_is_reached_through_any_local_domain(howto: Home) -> None:
    howto.control("locals", "here.net\n")
    howto.control("rcpthosts", "here.net\n")
    assert go(howto, "domain-com-joe@here.net").outcome is Outcome.DELIVERED


def test_h_7_refused_at_smtp_time(howto: Home) -> None:
    routed = go(howto, "joe@other.com")
    assert (routed.outcome, routed.stage, routed.arrives) == (Outcome.REFUSED, "rcpthosts", False)
    assert routed.failure is not None
    assert routed.failure.text.startswith("553 sorry")


@pytest.mark.parametrize(
    ("spoil", "stage", "file"),
    [("badmailfrom", "rcpthosts", "control/badmailfrom"), ("virtualdomains", "locals", "control/virtualdomains")],
)
def test_unreadable_controls_stop_the_program_that_reads_them(howto: Home, spoil: str, stage: str, file: str) -> None:
    (howto.path / "control" / spoil).unlink(missing_ok=True)
    (howto.path / "control" / spoil).mkdir()
    routed = go(howto, "joe@domain.com")
    assert (routed.outcome, routed.stage, routed.steps[-1].file) == (Outcome.DEFERRED, stage, file)


def test_q_send_7_neither_me_nor_locals(howto: Home) -> None:
    (howto.path / "control/me").unlink()
    routed = go(howto, "joe@domain.com")
    assert (routed.outcome, routed.stage) == (Outcome.DEFERRED, "locals")


def test_e_8_a_domain_nobody_took_leaves(howto: Home) -> None:
    howto.control("virtualdomains", "domain.com:\n")
    routed = go(howto, "joe@domain.com")
    assert (routed.outcome, routed.arrives, routed.rewritten) == (Outcome.REMOTE, False, b"joe@domain.com")
    assert routed.steps[-1].stage == "virtualdomains"


def test_e_19_the_trash_address(howto: Home) -> None:
    howto.control("locals", "domain.com\n")
    routed = go(howto, "@domain.com")
    assert (routed.outcome, routed.stage, routed.arrives) == (Outcome.DISCARDED, "assign", False)


def test_e_27_an_unknown_box_ends_at_alias(howto: Home) -> None:
    routed = go(howto, "nobody@domain.com")
    who = routed.assignment
    assert routed.failure == NO_MAILBOX
    assert who is not None
    assert (who.source, who.ext) == ("alias", b"domain-com-nobody")
    assert routed.steps[-1].file == "alias"


def test_e_32_a_damaged_cdb_defers(howto: Home) -> None:
    (howto.path / "users/cdb").write_bytes(b"")
    routed = go(howto, "joe@domain.com")
    assert (routed.outcome, routed.stage, routed.failure) == (Outcome.DEFERRED, "assign", CDB_TROUBLE)
    assert routed.stale_cdb.stale
    assert routed.stale_cdb.fresh_line == 1


def test_e_29_uid_0_defers_and_the_entry_is_still_named(howto: Home) -> None:
    howto.assign("=domain-com-joe:popuser:abc:888:BOX/joe:::")
    routed = go(howto, "joe@domain.com")
    assert (routed.outcome, routed.failure) == (Outcome.DEFERRED, ROOT)
    assert routed.steps[-1].file == "users/assign"


def test_e_33_h_15_homes(howto: Home) -> None:
    howto.assign("=domain-com-joe:IDS:joe:::", "=domain-com-bob:IDS:BOX/bob:::")
    assert go(howto, "joe@domain.com").outcome is Outcome.BOUNCED
    assert go(howto, "bob@domain.com").outcome is Outcome.DEFERRED


def test_e_38_a_dash_and_no_file_bounces(howto: Home) -> None:
    howto.assign("+domain-com-:IDS:BOX/joe:-::")
    routed = go(howto, "any@domain.com")
    assert (routed.outcome, routed.stage, routed.failure) == (Outcome.BOUNCED, "dotqmail", NO_MAILBOX)


def test_e_37_h_16_default_delivery(howto: Home) -> None:
    (howto.path / "box/joe/.qmail").unlink()
    routed = go(howto, "joe@domain.com")
    assert routed.steps[-1] == Step("dotqmail", "default delivery", 0, b"", b".qmail, .qmaildefault")
    assert routed.outcome is Outcome.DELIVERED
    maildir = route(howto.path, b"joe@domain.com", default=b"./Maildir/")
    assert maildir.deliveries[0].instruction.argument == b"./Maildir/"


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        (b"./Maildir/\n", [b"./Maildir/"]),
        (b"./Maildir/\n&a@far.org\n\n\n", [b"./Maildir/", b"a@far.org"]),
        (b"./Mail\0dir/", [b"./Maildir/"]),  # sh leaves NULs out of $(cat ...)
        (b"", [b"./Mailbox"]),
    ],
)
def test_q_def_1_control_defaultdelivery_is_for_a_box_without_a_file(
    howto: Home, text: bytes, arguments: list[bytes]
) -> None:
    (howto.path / "box/joe/.qmail").unlink()
    howto.control("defaultdelivery", text)
    routed = go(howto, "joe@domain.com")
    assert [delivery.instruction.argument for delivery in routed.deliveries] == arguments
    assert routed.steps[-1].file == ("control/defaultdelivery" if text else "default delivery")
    given = route(howto.path, b"joe@domain.com", default=b"./Other")
    assert given.deliveries[0].instruction.argument == b"./Other"


def test_q_def_1_q_line_2_a_file_of_line_ends_defers(howto: Home) -> None:
    (howto.path / "box/joe/.qmail").unlink()
    howto.control("defaultdelivery", "\n")
    assert go(howto, "joe@domain.com").failure == BLANK_FIRST


def test_q_fwd_9_a_forward_that_is_too_long_bounces_after_all_else(howto: Home) -> None:
    long = "a" * 995 + "@far.org"
    qmail = howto.path / "box/joe/.qmail"
    qmail.write_text(f"&{long[1:]}\n")
    assert len(long) == 1003
    assert go(howto, "joe@domain.com").outcome is Outcome.DELIVERED
    qmail.write_text(f"./Maildir/\n&{long}\n")
    assert go(howto, "joe@domain.com").failure == TOO_LONG
    qmail.write_text(f"&{long}\n./Nowhere/\n")
    assert go(howto, "joe@domain.com").outcome is Outcome.DEFERRED


def test_e_42_comments_only_discard(howto: Home) -> None:
    (howto.path / "box/joe/.qmail").write_text("# nothing\n")
    assert go(howto, "joe@domain.com").outcome is Outcome.DISCARDED


def test_h_34_a_failing_line_is_shown_and_defers(howto: Home) -> None:
    (howto.path / "box/joe/.qmail").write_text("./Mailbox\n./None/\n./Maildir/\n")
    routed = go(howto, "joe@domain.com")
    assert (routed.outcome, routed.stage) == (Outcome.DEFERRED, "delivery")
    assert [delivery.instruction.failure is None for delivery in routed.deliveries] == [True, False, True]


def test_h_20_q_lsp_3_users_cdb_as_it_is_now_decides_and_users_assign_says_what_will(howto: Home) -> None:
    howto.assign("=domain-com-new:IDS:BOX/joe:::", build=False)
    old, new = go(howto, "joe@domain.com"), go(howto, "new@domain.com")
    assert (old.outcome, old.stale_cdb.stale, old.stale_cdb.line, old.stale_cdb.fresh) == (
        Outcome.DELIVERED,
        True,
        0,
        None,
    )
    assert old.steps[2].file == "users/cdb"
    assert (new.stale_cdb.fresh_line, new.stale_cdb.stale) == (1, True)


def test_e_35_a_line_after_the_dot_is_not_the_one(howto: Home) -> None:
    howto.assign(end=".\n=domain-com-joe:IDS:BOX/joe:::\n", build=False)
    routed = go(howto, "joe@domain.com")
    assert (routed.stale_cdb.line, routed.steps[2].file) == (0, "users/cdb")


def test_h_21_a_users_assign_that_cannot_be_built(howto: Home) -> None:
    howto.assign("=domain-com-joe:IDS:BOX/joe:::", "rubbish", build=False)
    routed = go(howto, "joe@domain.com")
    assert routed.outcome is Outcome.DELIVERED
    assert routed.stale_cdb.error is not None
    assert routed.stale_cdb.error.line == 2


def test_without_users_assign_there_is_nothing_to_compare(howto: Home) -> None:
    (howto.path / "users/assign").unlink()
    assert go(howto, "joe@domain.com").stale_cdb.stale
    (howto.path / "users/cdb").unlink()
    assert not go(howto, "joe@domain.com").stale_cdb.stale


def test_e_2_the_line_named_is_the_one_used(howto: Home) -> None:
    howto.assign("=other:IDS:/h:::", "=domain-com-JOE:IDS:BOX/joe:::", "=domain-com-joe:IDS:/second:::")
    assert go(howto, "joe@domain.com").stale_cdb.line == 2
    howto.assign("=domain-com-:IDS:/h:-::", "+domain-com-:IDS:BOX/joe:-::", "+domain-com-:IDS:/x:-::")
    assert go(howto, "x@domain.com").stale_cdb.line == 2


def forwarding(host: Home, **boxes: str) -> None:
    for name, dot_qmail in boxes.items():
        host.box(name, dot_qmail, maildir=True)
    host.assign(*(f"=domain-com-{name}:IDS:BOX/{name}:::" for name in boxes))


def test_h_33_forwards_are_followed(howto: Home) -> None:
    forwarding(howto, joe="./Maildir/\n", sales="&joe@domain.com\nx@far.org\n")
    routed = go(howto, "sales@domain.com")
    onward = [delivery.onward for delivery in routed.deliveries]
    assert [each.outcome for each in onward if each is not None] == [Outcome.DELIVERED, Outcome.REMOTE]
    assert routed.arrives
    assert onward[0] is not None
    assert onward[0].steps[0].stage == "virtualdomains", "a forward does not come through qmail-smtpd"


def test_a_forward_that_bounces_is_delivered_and_does_not_arrive(howto: Home) -> None:
    forwarding(howto, sales="&gone@domain.com\n", gone="&\n")
    howto.assign("=domain-com-sales:IDS:BOX/sales:::", "=domain-com-gone:IDS:relative:::")
    routed = go(howto, "sales@domain.com")
    assert (routed.outcome, routed.arrives) == (Outcome.DELIVERED, False)


def test_e_54_q_local_7_forwards_in_a_circle_loop(howto: Home) -> None:
    forwarding(howto, a="&b@domain.com\n", b="&a@domain.com\n")
    routed = go(howto, "a@domain.com")
    second = routed.deliveries[0].onward
    third = second and second.deliveries[0].onward
    assert third is not None
    assert (third.outcome, third.failure) == (Outcome.BOUNCED, LOOPING)
    assert not routed.arrives


def test_e_52_a_failing_line_keeps_forwards_from_being_sent(howto: Home) -> None:
    forwarding(howto, a="&joe@domain.com\n./None/\n")
    assert go(howto, "a@domain.com").deliveries[0].onward is None


@pytest.mark.slow
def test_forwards_that_fan_out_without_end_are_followed_so_far_and_no_further(howto: Home) -> None:
    names = [f"b{number}" for number in range(14)]
    boxes = {name: "".join(f"&{other}@domain.com\n" for other in names if other != name) for name in names}
    forwarding(howto, **boxes)

    def count(routed: Route) -> int:
        return 1 + sum(count(delivery.onward) for delivery in routed.deliveries if delivery.onward is not None)

    assert count(go(howto, "b0@domain.com")) == MOST_FORWARDS + 1


def test_files_that_cannot_be_read_for_comparing_are_an_error(howto: Home) -> None:
    (howto.path / "users/assign").unlink()
    (howto.path / "users/assign").mkdir()
    with pytest.raises(OSError, match="users/assign"):
        go(howto, "joe@domain.com")


def test_a_home_elsewhere_is_read_and_nothing_is_written(howto: Home) -> None:
    def tree(path: Path) -> list[tuple[str, int]]:
        return [(str(each), each.lstat().st_mtime_ns) for each in sorted(path.rglob("*"))]

    before = tree(howto.path)
    go(howto, "joe@domain.com")
    assert tree(howto.path) == before
