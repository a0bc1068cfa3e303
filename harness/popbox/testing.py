"""A mail host for tests written in Python: the verbs of scenarios as methods, with the same proofs.

``MailHost`` wraps a running host for one test. Each method is a step; one that does not pass raises ``Unproved``, whose
text says what was seen, where the message is stuck, and what to look at.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from popbox.arguments import A_SENT, AN_ADDRESS, be, seconds, step
from popbox.clients.pop3 import Pop3
from popbox.clients.secret import MASK
from popbox.clients.wire import Address
from popbox.errors import HostError, UnusableError
from popbox.hosts.base import Found, Host, Ran, tail
from popbox.journey.join.whose import mail_lines, pop3_lines
from popbox.printable import plain
from popbox.report.text import step_lines
from popbox.result import Observation, Result, StepResult
from popbox.run.runner import Run
from popbox.scenario.load import ScenarioFile
from popbox.scenario.model import Accounts, Needs, Scenario

if TYPE_CHECKING:
    from popbox.message import Mail

SENDER = "sender@popbox.invalid"  # RFC 2606: a name that no one can own
SHOWN_LINES = 40  # our choice: of each log, for a test that failed
SLOW_S = 1.0  # our choice: by so much a wait may outlast its limit unsaid


class Unproved(AssertionError):
    """A step did not pass; ``step`` holds all that was seen."""

    def __init__(self, step: StepResult) -> None:
        """The text is what a person needs: what was seen, a hint, the conversation."""
        hint = f"\nhint: {step.seen.hint}" if step.seen.hint else ""
        talk = "".join(f"\n  {line}" for line in step.seen.transcript)
        super().__init__(plain(f"{step.name}: {step.seen.said}{hint}{talk}"))
        self.step = step


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that was accepted. ``octets`` is what was sent, with LF line ends and the token's header field."""

    id: str
    token: str
    octets: bytes


@dataclass(frozen=True, slots=True)
class Mark:
    """What lay in a box at one moment: ``wait(since=mark)`` passes over it."""

    names: frozenset[str]


class Password(str):
    """A password that pytest shows masked, in failures and among local variables."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Masked."""
        return repr(MASK)


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A mailbox of this test alone. The password was generated on the mail host and is known to this object only."""

    address: str
    login: str
    password: Password
    _host: MailHost

    def __repr__(self) -> str:
        """Without the password: pytest shows this in failures."""
        return f"Mailbox({self.address!r}, login={self.login!r})"

    def __str__(self) -> str:
        """The address."""
        return self.address

    @property
    def domain(self) -> str:
        """What stands after the ``@``."""
        return self.address.rpartition("@")[2]

    def expect(self, sent: Sent, within_s: float = 15.0) -> Found:
        """The message lies here once, whole, owned by popuser and closed to others; returns its file."""
        be("sent", sent, Sent, A_SENT)
        self._host.step("expect-delivered", {"message": sent.id, "mailbox": self.address}, within_s)
        return next(one for one in self.messages() if sent.token.encode() in one.octets)

    def expect_nothing(self, sent: Sent, within_s: float = 15.0) -> None:
        """The MTA is done with the message (its log says so), and it is not here."""
        be("sent", sent, Sent, A_SENT)
        self._host.step("expect-nothing", {"message": sent.id, "mailbox": self.address}, within_s)

    def expect_bounce(self, sent: Sent, says: str, within_s: float = 15.0) -> None:
        """One bounce of the message lies here; its report matches the regular expression ``says``."""
        be("sent", sent, Sent, A_SENT)
        self._host.step("expect-bounce", {"message": sent.id, "mailbox": self.address, "says": says}, within_s)

    def mark(self) -> Mark:
        """What lies here now. Take it before the action whose mail you wait for, and hand it to ``wait``."""
        return self._host.mark(self.address)

    def wait(
        self,
        *,
        subject: str | re.Pattern[str] | None = None,
        from_: str | None = None,
        within_s: float = 15.0,
        since: Mark | None = None,
    ) -> Mail:
        """Wait for mail that the application under test sends here; see ``MailHost.wait``."""
        return self._host.wait(self, subject=subject, from_=from_, within_s=within_s, since=since)

    def messages(self) -> list[Found]:
        """Every message in new/ and cur/, with all its octets."""
        return self._host.messages(self.address)


class MailHost:
    """A running mail host, as one test sees it. ``close`` ends the test's POP3 sessions, not the host."""

    def __init__(self, host: Host, title: str, folder: Path) -> None:
        """``folder`` is where message files are looked for; ``title`` names the test in reports."""
        self._host = host
        self._octets: dict[str, bytes] = {}
        self._run = Run(_Test(folder / "test", _untaken(title), self._octets), host)
        self._sessions: list[tuple[str, Pop3]] = []  # login, session
        self._declared: set[str] = set()  # words of what was declared
        self._count = 0

    @property
    def name(self) -> str:
        """``local``, ``docker`` or ``remote``."""
        return self._host.name

    @property
    def mta(self) -> str:
        """``qmail`` or ``stand-in``."""
        return self._host.mta

    @property
    def smtp(self) -> Address:
        """Where SMTP is spoken, as seen from here."""
        return self._host.address("smtp")

    @property
    def pop3(self) -> Address:
        """Where POP3 is spoken, as seen from here."""
        return self._host.address("pop3")

    def mailhost(self, *argv: str, stdin: bytes = b"") -> Ran:
        """Run ``mailhost ARGV`` on the mail host; its exit code is the caller's to judge."""
        for word in argv:
            be("argv", word, str, "a string for each word")
        be("stdin", stdin, bytes, "octets")
        self._declared.update(argv)
        return self._host.run(*argv, stdin=stdin)

    def domain(self, name: str | None = None) -> str:
        """Declare a domain; without a name, one that no other test has."""
        be("name", name, str | None, "a domain")
        name = name or f"t{secrets.token_hex(5)}.example"
        self.step("declare", {"argv": ["domain", "add", name]})
        return name

    def mailbox(self, local: str = "joe", domain: str | None = None, *, extensions: bool = False) -> Mailbox:
        """Declare a mailbox, in a new domain unless one is named; login and password are the mail host's choice.

        Raises:
            HostError: the mail host refused it.
        """
        be("local", local, str, "a local part")
        be("domain", domain, str | None, "a domain")
        address = f"{local}@{domain or self.domain()}"
        flags = ["--extensions"] if extensions else []
        login = f"t{secrets.token_hex(4)}"
        ran = self.mailhost("mailbox", "add", address, "--login", login, "--generate", *flags)
        if ran.code:
            raise HostError(f"mailhost mailbox add {address} ended with {ran.code}: {ran.stderr.strip()}")
        shown = next(line for line in ran.stdout.splitlines() if line.startswith("password: "))
        return Mailbox(address, login, Password(shown.removeprefix("password: ")), self)

    def send(
        self,
        to: Mailbox | str | Sequence[Mailbox | str],
        text: str | bytes | None = None,
        *,
        mail: str | None = None,
        sender: Mailbox | str = SENDER,
        within_s: float = 15.0,
    ) -> Sent:
        """Send one message that must be accepted: ``text`` (header, empty line, body) or the file ``mail``.

        ``text`` as bytes, such as ``EmailMessage.as_bytes()``, is sent as it is, with LF or CR LF line ends; in a str
        ``${name}`` is replaced as in a scenario.
        """
        number = self._send(to, text, mail, sender, within_s, refused=None)
        sent = self._run.context.sent[number]
        return Sent(number, sent.token, sent.octets)

    def send_refused(
        self,
        to: Mailbox | str | Sequence[Mailbox | str],
        reply: str,
        text: str | bytes | None = None,
        *,
        mail: str | None = None,
        sender: Mailbox | str = SENDER,
        within_s: float = 15.0,
    ) -> None:
        """Send one message that must be refused, with a reply that starts with ``reply``, such as ``553``."""
        self._send(to, text, mail, sender, within_s, refused=reply)

    def _send(
        self,
        to: Mailbox | str | Sequence[Mailbox | str],
        text: str | bytes | None,
        mail: str | None,
        sender: Mailbox | str,
        within_s: float,
        refused: str | None,
    ) -> str:
        recipients = [to] if isinstance(to, str | Mailbox) else to
        be("to", recipients, Sequence, AN_ADDRESS)
        for one in (*recipients, sender):
            be("sender" if one is sender else "to", one, str | Mailbox, AN_ADDRESS)
        recipients = list(map(str, recipients))
        self._count += 1
        number = f"message{self._count}"
        spec: dict[str, Any] = {"from": str(sender), "to": recipients, "id": number}
        if isinstance(text, bytes):
            if mail is not None:
                raise ValueError("give the message as octets or as a file, not both")
            self._octets[number] = text
            text, mail = None, number
        given = {"text": text, "mail": mail, "refused": refused}
        self.step("send", spec | {key: value for key, value in given.items() if value is not None}, within_s)
        return number

    def session(self, mailbox: Mailbox, timeout_s: float = 10.0) -> Pop3:
        """A POP3 session, logged in. It is closed without QUIT at the test's end: only QUIT deletes or moves."""
        be("mailbox", mailbox, Mailbox, "a Mailbox, as `mailbox()` makes one,")
        seconds("timeout_s", timeout_s)
        session = Pop3(self.pop3, timeout_s)
        self._sessions.append((mailbox.login, session))
        self._run.context.played.append((len(self._run.steps), session.wire))  # the ledger reads what it fetched
        session.login(mailbox.login, mailbox.password)
        return session

    def mark(self, to: Mailbox | str) -> Mark:
        """What lies in the box of an address now, for ``wait``.

        Raises:
            HostError: mail for that address comes to no box of this host.
        """
        be("to", to, str | Mailbox, AN_ADDRESS)
        from popbox.run.arrival import Box  # with the parser of messages: only a test that waits needs it

        return Mark(Box.of(self._host, str(to)).names())

    def wait(
        self,
        to: Mailbox | str,
        *,
        subject: str | re.Pattern[str] | None = None,
        from_: str | None = None,
        within_s: float = 15.0,
        since: Mark | None = None,
    ) -> Mail:
        """Wait for mail that the application under test sends; gives the oldest such message, parsed.

        ``to`` is compared exactly, also where a box takes mail for several addresses. ``subject`` is the whole Subject,
        or a compiled pattern to search it with; ``from_`` the address in From. ``since``: what lay there when that mark
        was taken does not count. ``within_s`` counts from the call; the last look at the box may end later, and the
        text of a failure says so.

        Raises:
            Unproved: none came in time; the text says what came instead, and where the mail is stuck and why.
            HostError: mail for that address comes to no box of this host; says why.
        """
        from popbox.run import arrival  # see mark

        be("to", to, str | Mailbox, AN_ADDRESS)
        be("subject", subject, str | re.Pattern | None, "a string or a compiled pattern")
        be("from_", from_, str | None, "an address")
        be("since", since, Mark | None, "what `mark()` gave")
        seconds("within_s", within_s)
        began = time.monotonic()
        box, wanted = arrival.Box.of(self._host, str(to)), arrival.Wanted(subject, from_)
        known = since.names if since else frozenset[str]()
        found: list[Mail] = []

        def look() -> Observation:
            mail = arrival.wait(box, wanted, known, began + within_s)
            if mail is not None:
                found.append(mail)
                return Observation(passed=True, said=f"{mail.subject!r}, {len(mail.raw)} octets")
            took_s = time.monotonic() - began
            hint = [arrival.where_it_is(box, known, self._run.context.log("smtp")), *self._host.ailments()]
            said = f"no message{f' with {wanted}' if str(wanted) else ''} came to {to} in {within_s:g} s"
            if took_s > within_s + SLOW_S:
                said += f"; the host answers slowly: {took_s:.1f} s had passed when the last look at the box ended"
            return Observation(passed=False, said=said, hint="\n".join(hint))

        taken = self._run.see("wait", "wait", f"mail for {to}, {within_s:g} s at most", look)
        if not found:
            raise Unproved(taken)
        return found[0]

    def messages(self, address: str) -> list[Found]:
        """Every message in new/ and cur/ of a mailbox, with all its octets."""
        be("address", address, str, "the address of a mailbox")
        return self._host.find(self._run.context.maildir(address), "")

    def step(self, verb: str, spec: Any, within_s: float = 15.0) -> StepResult:
        """Take one step as a scenario would (scenarios/README.md has verbs and keys).

        Raises:
            Unproved: the step did not pass.
            UnusableError: it is no step; names each key that does not fit.
        """
        asked = step(verb, spec, within_s)
        if asked.declare:
            self._declared.update(asked.declare.argv)
        taken = self._run.take(asked)
        if not taken.seen.passed:
            raise Unproved(taken)
        return taken

    def log(self, service: str) -> str:
        """What ``smtp`` or ``pop3`` has logged since this test began, of other tests too where they share the host."""
        if service not in ("smtp", "pop3"):
            raise UnusableError(f"service={service!r}: 'smtp' or 'pop3' is wanted")
        return self._run.context.log("smtp" if service == "smtp" else "pop3")

    def story(self) -> Iterator[tuple[str, str]]:
        """For a failure: every step so far and every POP3 session with its conversation, and what each side logged.

        Headings and texts. Of the logs it is what is about this test's messages and logins.
        """
        steps = "\n".join(line for step in self._run.steps for line in step_lines(step, transcripts=True))
        yield f"popbox: steps on {self._host.describe()}", steps
        for number, (login, session) in enumerate(self._sessions, 1):
            yield f"popbox: POP3 session {number}, login {login}", "\n".join(session.wire.transcript())
        queue_ids = {sent.queued_as for sent in self._run.context.offered if sent.queued_as}
        smtp = mail_lines(self.log("smtp"), self._domains(), queue_ids)
        yield "popbox: log of smtp, on this test's messages", tail("\n".join(smtp), SHOWN_LINES) or "nothing"
        pop3 = pop3_lines(self.log("pop3"), self._logins())
        yield "popbox: log of pop3, on this test's logins", tail("\n".join(pop3), SHOWN_LINES) or "nothing"

    def _domains(self) -> set[str]:
        """The domains that this test has named to the mail host."""
        return {word.rpartition("@")[2].lower() for word in self._declared if "." in word}

    def _logins(self) -> set[str]:
        """The logins that this test has declared, or logged in with."""
        wires = [wire for _, wire in self._run.context.played]
        said = (line.text.split(" ", 1) for wire in wires for line in wire.log if line.side == "C")
        users = {words[1] for words in said if len(words) == 2 and words[0].upper() == "USER"}
        return users | {login for login, _ in self._sessions}

    def close(self) -> None:
        """End the POP3 sessions that the test left open."""
        for _, session in self._sessions:
            session.wire.close()

    def result(self, failed: str = "") -> Result:
        """The test so far as a result, fit for the reports; ``failed`` says why, where no step but the test failed."""
        return self._run.result(failed=failed)


@dataclass(frozen=True, slots=True)
class _Test(ScenarioFile):
    """A test in place of a scenario file; ``octets`` are messages that it gave as such, by their number."""

    octets: dict[str, bytes]

    def message(self, name: str) -> bytes:
        """Octets of a message file, or those that the test gave."""
        return self.octets[name] if name in self.octets else ScenarioFile.message(self, name)


def _untaken(title: str) -> Scenario:
    """What a test has in place of a scenario file; its steps come one by one."""
    return Scenario.model_construct(title=title, proves=[], needs=Needs(), accounts=Accounts(), step=[])
