"""The closed set of verbs as data: what each step of a scenario may say. Strict: unknown keys are errors."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SecretStr, model_validator

from popbox.scenario.faults import Break, WaitUntil
from popbox.scenario.fields import Address, Addresses, Below, Identifier, Mode, Regex, Table, Transcript
from popbox.scenario.names import Service


class Declare(Table):
    """Run ``mailhost ARGV`` on the mail host and check how it ends; named groups of ``says`` become variables."""

    argv: list[str] = Field(min_length=1)
    stdin: str = ""
    code: int = 0
    says: Regex | None = Field(default=None, description="found in what it printed, on either stream")


class Explain(Table):
    """Ask ``mailhost explain`` about an address."""

    address: Address
    delivered: bool = True
    says: Regex | None = None


class Send(Table):
    """Send one message over SMTP, or prove that it is refused; or play an SMTP dialogue, word by word."""

    sender: Address = Field(default="", alias="from", description="envelope sender; empty for a bounce")
    to: Addresses = Field(default=[], description="envelope recipients")
    mail: str | None = Field(default=None, description="message file, relative to the scenario file")
    text: str | None = Field(default=None, description="message text, header and body, instead of a file")
    dialogue: Transcript | None = Field(default=None, description="the whole SMTP session, instead of all of these")
    id: Identifier = Field(default="message", description="name of this message in later steps")
    refused: str | None = Field(default=None, description="the server must refuse; the reply starts with this")

    @model_validator(mode="after")
    def _one_source(self) -> Send:
        if self.mail is not None and self.text is not None:
            raise ValueError("give 'mail' or 'text', not both")
        if self.dialogue is None and not {"sender", "to"} <= self.model_fields_set:
            raise ValueError("give 'from' and 'to', or a 'dialogue'")
        if self.dialogue is not None and (more := self.model_fields_set - {"dialogue", "id"}):
            beside = sorted("from" if name == "sender" else name for name in more)
            raise ValueError(f"a 'dialogue' says it all itself: {', '.join(beside)} cannot stand beside it")
        return self


class AboutMessage(Table):
    """A verb that speaks of a message sent before."""

    message: Identifier = Field(default="message", description="id of the send step")


class ExpectDelivered(AboutMessage):
    """The message lies in the Maildir of the mailbox: once, whole, owned by popuser."""

    mailbox: Address = Field(description="address of the mailbox")


class ExpectNothing(AboutMessage):
    """The MTA is done with the message, and the mailbox does not hold it."""

    mailbox: Address


class ExpectBounce(AboutMessage):
    """The sender, a mailbox here, has got a bounce that holds the message and says why."""

    mailbox: Address = Field(description="address of the mailbox that sent the message")
    says: Regex


class ExpectDeferred(AboutMessage):
    """The MTA has deferred the message, and says why."""

    says: Regex


class ExpectRetrieved(AboutMessage):
    """A POP3 login lists the message once, and RETR hands out the octets that were sent; takes nothing away."""

    login: str = Field(min_length=1)
    password: SecretStr = Field(min_length=1, description="masked in every transcript")


class Telnet(Table):
    """Play a conversation, line by line: with a service, or with popup | checkpoppasswd | pop3d run for it alone."""

    transcript: Transcript
    service: Literal["pop3", "smtp", "chain"] = "pop3"
    session: Identifier | None = Field(default=None, description="stays open for later steps that name it too")
    hang_up: bool = Field(default=False, alias="hang-up", description="close the session after this, without QUIT")
    at_least_s: float = Field(default=0.0, ge=0, alias="at-least-s", description="the conversation takes no less")
    less_than_s: float | None = Field(
        default=None, gt=0, alias="less-than-s", description="and it takes less than this"
    )

    runs: list[str] | None = Field(
        default=None, min_length=1, description="chain: what popup runs, instead of checkpoppasswd pop3d Maildir"
    )
    syslog: bool = Field(default=False, description="chain: what it logs to /dev/log follows at the end, a line each")

    @model_validator(mode="after")
    def _of_the_chain(self) -> Telnet:
        if self.service != "chain" and (self.runs or self.syslog):
            raise ValueError("'runs' and 'syslog' are for service = \"chain\"")
        return self

    @model_validator(mode="after")
    def _hangs_up_a_session(self) -> Telnet:
        if self.hang_up and not self.session:
            raise ValueError("'hang-up' is for a 'session'; without one the connection ends with the step")
        return self


class Maildir(Table):
    """How many messages lie in new/ and cur/ of a mailbox."""

    mailbox: Address
    new: int = Field(ge=0)
    cur: int = Field(ge=0)


class File(Table):
    """What a file on the mail host holds, and who may read it. Waits until it does."""

    path: Below
    has: Regex | None = Field(default=None, description="found in the file (multi-line: ^ and $ are lines')")
    lacks: Regex | None = None
    mode: Mode | None = None

    @model_validator(mode="after")
    def _says_something(self) -> File:
        if self.has is None and self.lacks is None and self.mode is None:
            raise ValueError("give at least one of 'has', 'lacks', 'mode', or it could not fail")
        return self


class Write(Table):
    """Put a file in place by hand, as an operator with an editor would."""

    path: Below
    text: str
    mode: Mode | None = None


class Shell(Table):
    """Run a shell script on the mail host, as its operator would: root where the host has one."""

    script: str = Field(min_length=1)
    code: int = 0
    says: Regex | None = Field(default=None, description="found in what it printed, on either stream")


class Log(Table):
    """What a service has logged since the scenario began."""

    service: Service
    says: Regex
    never: Regex | None = None


class Step(Table):
    """One step: exactly one verb, and how long it may take."""

    name: str | None = None
    within_s: float = Field(default=15.0, gt=0, le=600, alias="within-s", description="deadline in seconds")
    declare: Declare | None = None
    explain: Explain | None = None
    send: Send | None = None
    expect_delivered: ExpectDelivered | None = Field(default=None, alias="expect-delivered")
    expect_nothing: ExpectNothing | None = Field(default=None, alias="expect-nothing")
    expect_bounce: ExpectBounce | None = Field(default=None, alias="expect-bounce")
    expect_deferred: ExpectDeferred | None = Field(default=None, alias="expect-deferred")
    expect_retrieved: ExpectRetrieved | None = Field(default=None, alias="expect-retrieved")
    telnet: Telnet | None = None
    maildir: Maildir | None = None
    file: File | None = None
    write: Write | None = None
    shell: Shell | None = None
    log: Log | None = None
    break_: Break | None = Field(default=None, alias="break")
    heal: Identifier | None = Field(default=None, description="undo the break of that id")
    wait_until: WaitUntil | None = Field(default=None, alias="wait-until")
    restart: Service | None = Field(default=None, description="end the service in order, and start it again")
    hup: Literal["smtp"] | None = Field(default=None, description="have the MTA read virtualdomains and locals again")

    @model_validator(mode="before")
    @classmethod
    def _short_telnet(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("telnet"), str):
            return {**data, "telnet": {"transcript": data["telnet"]}}
        return data

    @model_validator(mode="after")
    def _one_verb(self) -> Step:
        if len(self._verbs()) != 1:
            raise ValueError(f"a step has exactly one verb of: {', '.join(STEP_VERBS)}")
        return self

    def _verbs(self) -> list[str]:
        return [verb for verb, field in STEP_VERBS.items() if getattr(self, field) is not None]

    @property
    def verb(self) -> str:
        """The verb as the file spells it."""
        return self._verbs()[0]

    @property
    def spec(self) -> Any:
        """The verb's own table (or word)."""
        return getattr(self, STEP_VERBS[self.verb])


# verb as files spell it -> field of Step
STEP_VERBS = {
    field.alias or name: name for name, field in Step.model_fields.items() if name not in ("name", "within_s")
}
