"""Control files and the RCPT decision: facts §5 and Q-RCPT-*."""

from __future__ import annotations

import os

import pytest
from tests.mailhost.qmail.support import Home

from mailhost.qmail.assign import newmrh
from mailhost.qmail.control import BAD_SENDER, NOT_ALLOWED, ControlError, Reader, accepts, badmailfrom, host_of
from mailhost.qmail.controlfile import leading_digits, list_lines


def accepted(host: Home, rcpt: bytes) -> bool:
    return accepts(host.controls(), rcpt).accepted


def test_e_12_q_rcpt_1_without_rcpthosts_every_domain_is_accepted_and_with_an_empty_one_none(host: Home) -> None:
    assert accepted(host, b"joe@any.example")
    host.control("rcpthosts", "")
    assert not accepted(host, b"joe@any.example")
    assert accepted(host, b"joe")


def test_e_13_q_rcpt_1_morercpthosts_is_not_looked_at_without_rcpthosts(host: Home) -> None:
    host.control("morercpthosts.cdb", b"not a cdb")
    assert accepted(host, b"joe@any.example")
    assert host.controls().morercpthosts is None


@pytest.mark.parametrize(
    ("rcpt", "ok"),
    [(b"joe@d.com", True), (b"joe@D.COM", True), (b"a@b@d.com", True), (b"joe@d.com@x.org", False), (b"joe", True),
     (b"joe@", False), (b"@d.com", True), (b"joe@.d.com", False)],
)  # fmt: skip
def test_q_rcpt_2_the_host_is_what_follows_the_last_at(host: Home, rcpt: bytes, ok: bool) -> None:
    host.control("rcpthosts", "d.com\n")
    assert accepted(host, rcpt) is ok


@pytest.mark.parametrize(
    ("rcpt", "key", "line"),
    [(b"j@x.wild.com", b".wild.com", 3), (b"j@y.x.wild.com", b".wild.com", 3), (b"j@d.com", b"d.com", 2)],
)
def test_q_rcpt_3_host_then_suffixes_and_the_line_that_decided(host: Home, rcpt: bytes, key: bytes, line: int) -> None:
    host.control("rcpthosts", "# list\nd.com\n.wild.com\n")
    decision = accepts(host.controls(), rcpt)
    assert (decision.accepted, decision.file, decision.line, decision.key) == (True, "control/rcpthosts", line, key)


def test_e_5_a_leading_dot_does_not_cover_the_domain_itself(host: Home) -> None:
    host.control("rcpthosts", ".d.com\n")
    assert not accepted(host, b"j@d.com")
    assert accepted(host, b"j@x.d.com")


def test_e_4_q_rcpt_4_a_trailing_dot_is_part_of_the_host(host: Home) -> None:
    host.control("rcpthosts", "d.com\n.\n")
    assert not accepted(host, b"j@d.com.x")
    host.control("rcpthosts", "d.com\n")
    assert not accepted(host, b"j@d.com.")


def test_b_2_a_line_with_only_a_dot_matches_hosts_that_end_in_one(host: Home) -> None:
    host.control("rcpthosts", ".\n")
    assert accepted(host, b"j@d.com.")
    assert not accepted(host, b"j@d.com")


def test_e_10_e_11_q_rcpt_5_blanks_comments_and_carriage_returns(host: Home) -> None:
    host.control("rcpthosts", "D.com \t\n\n#c.com\n #e.com\n lead.com\ncr.com\r\nlast.com")
    good = [b"d.com", b" #e.com", b" lead.com", b"cr.com\r", b"last.com"]
    bad = [b"c.com", b"#c.com", b"lead.com", b"cr.com", b"e.com"]
    assert [name for name in good + bad if accepted(host, b"j@" + name)] == good


def test_q_rcpt_6_the_refusal_is_the_wire_text(host: Home) -> None:
    host.control("rcpthosts", "")
    assert accepts(host.controls(), b"j@x").reply == NOT_ALLOWED


def test_e_14_q_rcpt_7_an_empty_relayclient_skips_the_list(host: Home) -> None:
    host.control("rcpthosts", "")
    assert accepts(host.controls(), b"j@x", relayclient=b"").accepted


def test_e_22_q_rcpt_8_local_parts_are_not_looked_at(host: Home) -> None:
    host.control("rcpthosts", "d.com\n")
    assert accepted(host, b"no such user/../@d.com")


@pytest.mark.parametrize(
    ("sender", "bad"),
    [(b"Spam@x.org", True), (b"ham@x.org", False), (b"any@BAD.org", True), (b"any@sub.bad.org", False), (b"", False),
     (b"@bad.org", True), (b"word", True)],
)  # fmt: skip
def test_q_rcpt_9_badmailfrom_knows_senders_and_whole_domains(host: Home, sender: bytes, bad: bool) -> None:
    host.control("badmailfrom", "spam@X.org\n@bad.org\nword\n")
    assert (badmailfrom(host.controls(), sender) is not None) is bad
    assert b"badmailfrom" in BAD_SENDER


def test_a_fifo_holds_nobody_up_and_is_empty(host: Home) -> None:
    for name in ("rcpthosts", "databytes"):
        os.mkfifo(host.path / "control" / name)
    controls = host.controls()
    assert controls.rcpthosts is not None
    assert (controls.rcpthosts.lines, controls.databytes) == ((), 0)
    writer = os.open(host.path / "control/databytes", os.O_RDWR)  # an open writer may still write to it
    with pytest.raises(ControlError, match="control/databytes: cannot be read: Resource temporarily unavailable"):
        host.controls()
    os.close(writer)


@pytest.mark.parametrize(("text", "bad"), [(b"s@x\n", False), (b"s@x\0\n", True), (b"\0\n", False), (b"a\0\0b", True)])
def test_q_rcpt_9_a_nul_makes_an_empty_entry_which_bars_the_empty_sender(host: Home, text: bytes, bad: bool) -> None:
    host.control("badmailfrom", text)
    assert (badmailfrom(host.controls(), b"") is not None) is bad


def test_q_rcpt_10_morercpthosts_counts_only_as_a_cdb(host: Home) -> None:
    host.control("rcpthosts", "d.com\n")
    host.control("morercpthosts", "More.org\n.wild.org\n")
    assert not accepted(host, b"j@more.org")
    newmrh(host.path)
    decision = accepts(host.controls(), b"j@x.WILD.org")
    assert (decision.accepted, decision.file, decision.key) == (True, "control/morercpthosts.cdb", b".wild.org")
    assert accepted(host, b"j@more.org")
    assert not accepted(host, b"j@wild.org")


def test_q_rcpt_11_percent_signs_are_text(host: Home) -> None:
    host.control("rcpthosts", "d.com\n")
    assert accepted(host, b"a%x@d.com")
    assert not accepted(host, b"a%d.com@x")


def test_q_smtp_4_unreadable_files_are_named_and_a_damaged_cdb_is_met_at_rcpt(host: Home) -> None:
    host.control("rcpthosts", "d.com\n")
    host.control("morercpthosts.cdb", b"short")
    controls = host.controls()
    assert accepts(controls, b"j@d.com").accepted
    with pytest.raises(ControlError, match=r"morercpthosts\.cdb: cut short"):
        accepts(controls, b"j@x.org")
    (host.path / "control/badmailfrom").mkdir()
    with pytest.raises(ControlError, match="control/badmailfrom: cannot be read") as caught:
        host.controls()
    assert caught.value.file == "control/badmailfrom"
    assert host.controls(Reader.SEND).virtualdomains.lines == ()


def test_q_ctl_defaults_come_from_me(host: Home) -> None:
    controls = host.controls()
    me = b"mx1.example.net"
    assert (controls.smtpgreeting, controls.localiphost, controls.envnoathost, controls.bouncehost) == (me, me, me, me)
    assert (controls.doublebouncehost, controls.helohost) == (me, me)
    assert (controls.bouncefrom, controls.doublebounceto) == (b"MAILER-DAEMON", b"postmaster")
    assert (controls.databytes, controls.queuelifetime, controls.timeoutsmtpd) == (0, 604800, 1200)
    assert (controls.concurrencylocal, controls.concurrencyremote) == (10, 20)
    assert (controls.timeoutconnect, controls.timeoutremote) == (60, 1200)
    assert controls.locals is not None
    assert controls.locals.find(b"MX1.example.net") is not None


def test_q_bounce_9_without_me_the_words_stand_for_themselves(host: Home) -> None:
    (host.path / "control/me").unlink()
    controls = host.controls()
    words = (controls.bouncehost, controls.doublebouncehost, controls.envnoathost)
    assert words == (b"bouncehost", b"doublebouncehost", b"envnoathost")
    assert controls.smtpgreeting is None
    assert controls.locals is None


def test_q_ctl_1_an_empty_me_is_the_empty_string(host: Home) -> None:
    host.control("me", "")
    controls = host.controls()
    assert (controls.me, controls.smtpgreeting, controls.envnoathost) == (b"", b"", b"")


def test_q_send_7_locals_present_but_empty_means_no_local_domain(host: Home) -> None:
    host.control("locals", "")
    locals_ = host.controls().locals
    assert locals_ is not None
    assert locals_.lines == ()


def test_one_line_files_use_the_first_line_and_keep_hash_signs(host: Home) -> None:
    host.control("smtpgreeting", "#hello there \t\nsecond\n")
    assert host.controls().smtpgreeting == b"#hello there"


@pytest.mark.parametrize(
    ("text", "value"),
    [("100abc", 100), (" 100", 0), ("abc", 0), ("-1", 0), ("", 0), ("4294967295", 4294967295), ("4294967296", 0),
     ("9" * 6000, int("9" * 4000) * pow(10, 2000, 1 << 32) % (1 << 32))],
)  # fmt: skip
def test_q_ctl_4_numbers(host: Home, text: str, value: int) -> None:
    host.control("databytes", text)
    expected = value if len(text) < 100 else leading_digits(text.encode())
    assert host.controls().databytes == expected


def test_leading_digits_of_a_very_long_number_is_still_modulo_two_to_the_32() -> None:
    digits = "123456789" * 700
    value = 0
    for digit in digits:
        value = (value * 10 + int(digit)) % (1 << 32)
    assert leading_digits(digits.encode() + b"x1") == value


@pytest.mark.parametrize(("text", "seconds"), [("0", 1), ("2147483648", 1), ("5", 5), ("x", 1200)])
def test_q_smtp_13_timeouts_are_at_least_a_second(host: Home, text: str, seconds: int) -> None:
    host.control("timeoutsmtpd", text)
    assert host.controls().timeoutsmtpd == seconds


def test_q_send_15_concurrency_is_cut_to_what_was_compiled_in(host: Home) -> None:
    host.control("concurrencylocal", "500\n")
    host.control("concurrencyremote", "0\n")
    assert (host.controls().concurrencylocal, host.controls().concurrencyremote) == (120, 0)


def test_a_nul_in_a_list_file_ends_an_entry_like_a_newline() -> None:
    assert list_lines(b"a.com\0#b.com\n\0c.com\nd.com") == [(1, b"a.com"), (1, b"#b.com"), (3, b"d.com")]


def test_host_of() -> None:
    assert [host_of(address) for address in (b"a@b@c", b"a@", b"a")] == [b"c", b"", None]
