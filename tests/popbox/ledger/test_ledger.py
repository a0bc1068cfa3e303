"""The ledger reads an MTA's log (Q-SEND-17) and says where a message is."""

from __future__ import annotations

from popbox.ledger import Attempt, attempts, stamp, verdict

REPLY = "250 ok 1795333118 qp 4171"
LOG = """\
new msg 1753402
info msg 1753402: bytes 194 from <a@b.org> qp 4171 uid 1001
new msg 9
info msg 9: bytes 1 from <a@b.org> qp 4172 uid 1001
starting delivery 3: msg 1753402 to local domain-com-joe@domain.com
status: local 1/10 remote 0/20
starting delivery 4: msg 9 to local domain-com-eve@domain.com
delivery 4: failure: Sorry,_no_mailbox_here_by_that_name._(#5.1.1)/
"""


def test_a_running_delivery_is_told_from_another_message() -> None:
    assert attempts(LOG, REPLY) == [Attempt("domain-com-joe@domain.com", "running", "")]


def test_an_ended_delivery_carries_the_words_of_the_mta() -> None:
    log = LOG + "delivery 3: deferral: Unable_to_chdir_to_maildir._(#4.2.1)/\n"
    assert verdict(log, REPLY) == (
        "delivery to domain-com-joe@domain.com ended in deferral: Unable to chdir to maildir. (#4.2.1) (1 attempt(s))"
    )


def test_timestamps_before_the_line_do_no_harm() -> None:
    stamped = "".join(f"@400000006a00000000000000 {line}\n" for line in LOG.splitlines())
    assert attempts(stamped, REPLY) == attempts(LOG, REPLY)


def test_without_a_queue_id_nothing_is_claimed() -> None:
    assert verdict(LOG, "250 fine") == "no queue id in the reply"
    assert "no delivery attempt yet" in verdict("", REPLY)


def test_the_token_comes_first_and_the_message_ends_in_a_line() -> None:
    assert stamp(b"Subject: x\n\nno newline", "pb-1") == b"X-Popbox-Token: pb-1\nSubject: x\n\nno newline\n"
