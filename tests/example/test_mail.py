"""What a project tests with popbox: each test has a domain of its own on one mail host that all tests share."""

from __future__ import annotations

import email
import email.policy
import smtplib
from collections.abc import Callable

import pytest

from popbox.clients.pop3 import Pop3, Pop3Refused
from popbox.testing import Mailbox, MailHost, Sent

SendMail = Callable[..., Sent]
Login = Callable[[Mailbox], Pop3]


def test_a_message_arrives_once_and_whole(mailbox: Mailbox, send_mail: SendMail, pop3: Login) -> None:
    sent = send_mail(mailbox, "Subject: your invoice\n\nSee below.\n..\nIt is 8-bit: Grüße.\n")
    mailbox.expect(sent)
    session = pop3(mailbox)
    assert session.stat()[0] == 1
    assert session.retrieve(1).endswith(sent.octets)


def test_what_the_application_sends(mailbox: Mailbox, mailhost: MailHost) -> None:
    with smtplib.SMTP(mailhost.smtp.host, mailhost.smtp.port) as application:
        mail = f"To: {mailbox}\nSubject: Reset\n\nCode 482913, or https://shop.example/reset?t=1.\n"
        application.sendmail("no-reply@shop.example", mailbox.address, mail)
    reset = mailbox.wait(subject="Reset")
    assert (reset.code, reset.link("reset")) == ("482913", "https://shop.example/reset?t=1")


def test_a_message_from_a_file(mailbox: Mailbox, send_mail: SendMail) -> None:
    found = mailbox.expect(send_mail(mailbox, mail="mail/newsletter.eml"))
    message = email.message_from_bytes(found.octets, policy=email.policy.default)
    assert message["List-Id"] == "news <news.shop.example>"


def test_what_a_client_deletes_is_gone_only_after_quit(mailbox: Mailbox, send_mail: SendMail, pop3: Login) -> None:
    mailbox.expect(send_mail(mailbox, "Subject: delete me\n\n"))
    with pop3(mailbox) as session:
        session.retrieve(1)
        session.command("DELE 1")  # and the connection drops
    assert len(mailbox.messages()) == 1
    with pop3(mailbox) as session:
        session.retrieve(1)
        session.command("DELE 1")
        session.quit()
    assert mailbox.messages() == []


def test_two_boxes_of_one_domain_are_kept_apart(mailhost: MailHost, send_mail: SendMail, pop3: Login) -> None:
    joe = mailhost.mailbox("joe")
    ann = mailhost.mailbox("ann", joe.domain)
    sent = send_mail(ann, "Subject: for Ann\n\n")
    ann.expect(sent)
    joe.expect_nothing(sent)
    assert pop3(joe).stat() == (0, 0)


def test_extensions_arrive_in_the_box(mailhost: MailHost, send_mail: SendMail) -> None:
    joe = mailhost.mailbox("joe", extensions=True)
    joe.expect(send_mail(f"joe-shopping@{joe.domain}", "Subject: tagged\n\n"))


def test_an_unknown_user_bounces_to_the_sender(mailbox: Mailbox, send_mail: SendMail) -> None:
    sent = send_mail(f"nobody@{mailbox.domain}", "Subject: lost\n\n", sender=mailbox)
    mailbox.expect_bounce(sent, r"no mailbox here by that name")


def test_we_are_no_open_relay(mailhost: MailHost) -> None:
    mailhost.send_refused("victim@elsewhere.example", "553", "Subject: spam\n\n")


def test_a_wrong_password_is_refused(mailhost: MailHost, mailbox: Mailbox) -> None:
    with pytest.raises(Pop3Refused), Pop3(mailhost.pop3) as session:
        session.login(mailbox.login, "not the password")
