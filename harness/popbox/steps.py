"""The closed set of verbs as data: what each step of a scenario may say. Strict: unknown keys are errors."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from popbox.transcript import TranscriptError, parse


class Strict(BaseModel):
    """A frozen table that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def _transcript(text: str) -> str:
    try:
        parse(text)
    except TranscriptError as error:
        raise ValueError(str(error)) from error
    return text


def _regex(text: str) -> str:
    try:
        re.compile(re.sub(r"\$\{[^}]*\}", "x", text))
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return text


def _below(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise ValueError("a path below the qmail home is wanted: no leading / and no ..")
    return path


Transcript = Annotated[str, AfterValidator(_transcript)]
Regex = Annotated[str, AfterValidator(_regex)]
Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,30}$")]
Address = Annotated[str, Field(max_length=900, pattern=r"^[^\x00-\x1f<>]*$")]
Below = Annotated[str, AfterValidator(_below), Field(min_length=1, description="path below the qmail home")]
Mode = Annotated[str, Field(pattern=r"^[0-7]{4}$", description="permission bits, octal")]
Service = Literal["smtp", "pop3"]


class Declare(Strict):
    """Run ``mailhost ARGV`` on the mail host and check how it ends; named groups of ``says`` become variables."""

    argv: list[str] = Field(min_length=1)
    stdin: str = ""
    code: int = 0
    says: Regex | None = Field(default=None, description="found in what it printed, on either stream")


class Explain(Strict):
    """Ask ``mailhost explain`` about an address."""

    address: Address
    delivered: bool = True
    says: Regex | None = None


class Send(Strict):
    """Send one message over SMTP, or prove that it is refused."""

    sender: Address = Field(alias="from", description="envelope sender; empty for a bounce")
    to: list[Address] = Field(min_length=1, description="envelope recipients")
    mail: str | None = Field(default=None, description="message file, relative to the scenario file")
    text: str | None = Field(default=None, description="message text, header and body, instead of a file")
    id: Identifier = Field(default="message", description="name of this message in later steps")
    refused: str | None = Field(default=None, description="the server must refuse; the reply starts with this")

    @model_validator(mode="after")
    def _one_source(self) -> Send:
        if self.mail is not None and self.text is not None:
            raise ValueError("give 'mail' or 'text', not both")
        return self


class AboutMessage(Strict):
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
    """The MTA has put the message off, and says why."""

    says: Regex


class Telnet(Strict):
    """Play a conversation, line by line: with a service, or with popup | checkpoppasswd | pop3d run for it alone."""

    transcript: Transcript
    service: Literal["pop3", "smtp", "chain"] = "pop3"
    at_least_s: float = Field(default=0.0, ge=0, alias="at-least-s", description="the conversation takes no less")


class Maildir(Strict):
    """How many messages lie in new/ and cur/ of a mailbox."""

    mailbox: Address
    new: int = Field(ge=0)
    cur: int = Field(ge=0)


class File(Strict):
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


class Write(Strict):
    """Put a file in place by hand, as an operator with an editor would."""

    path: Below
    text: str
    mode: Mode | None = None


class Log(Strict):
    """What a service has logged since the scenario began."""

    service: Service
    says: Regex
    never: Regex | None = None


class Break(Strict):
    """Break the mail host on purpose; exactly one key."""

    kill: Service | None = Field(default=None, description="kill -9 the service")
    chmod: dict[Below, Mode] | None = Field(default=None, description="path -> permission bits")
    drop_line: dict[Below, str] | None = Field(default=None, alias="drop-line", description="file -> line to take out")
    remove: Below | None = Field(default=None, description="file or directory to take away")

    @model_validator(mode="after")
    def _one_fault(self) -> Break:
        if len(self.model_fields_set) != 1:
            raise ValueError("give exactly one of 'kill', 'chmod', 'drop-line', 'remove'")
        return self


class Step(Strict):
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
    telnet: Telnet | None = None
    maildir: Maildir | None = None
    file: File | None = None
    write: Write | None = None
    log: Log | None = None
    break_: Break | None = Field(default=None, alias="break")
    restart: Service | None = Field(default=None, description="start a killed service again")
    hup: Literal["smtp"] | None = Field(default=None, description="have the MTA read virtualdomains and locals anew")

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
