"""A load file as values: who uses the host, for how long, what breaks, and what may come of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from popbox.load.plan.budgets import Budgets
from popbox.load.plan.units import octets, seconds
from popbox.scenario.faults import DISKS
from popbox.scenario.fields import Identifier, Table
from popbox.scenario.names import Disk, Service

SLOWEST = 1e-6  # our choice: once in the longest time that a load may have, about


def _length(value: object) -> float:
    if not isinstance(value, str):
        raise ValueError('a length of time in quotes is wanted, such as "30s"')  # noqa: TRY004 - pydantic's rule
    return seconds(value)


def _size(value: object) -> int:
    if not isinstance(value, str):
        raise ValueError('a size in quotes is wanted, such as "4KiB"')  # noqa: TRY004 - pydantic's rule
    return octets(value)


Length = Annotated[float, BeforeValidator(_length, json_schema_input_type=str)]
Time = Annotated[Length, Field(gt=0)]  # one that is to pass
Size = Annotated[int, BeforeValidator(_size, json_schema_input_type=str), Field(ge=256)]
Range = Annotated[list[Length], Field(min_length=2, max_length=2)]
Manner = Literal["hang-up", "wrong-password", "slow-reader", "half-command", "nonsense"]


class User(Table):
    """A class of users. Of all users, ``weight`` is its share; ``count`` fixes their number."""

    weight: int = Field(default=1, ge=1, le=1_000, description="share of all users")
    count: int | None = Field(default=None, ge=1, le=100_000, description="so many users, whatever the weights")


class Sender(User):
    """Hands mail over by SMTP, by a schedule that does not wait for answers."""

    kind: Literal["sender"]
    rate: float = Field(ge=SLOWEST, le=1_000, description="bursts a second for one user")
    arrivals: Literal["poisson", "even"] = Field(default="poisson", description="how the moments are spread")
    burst: int = Field(default=1, ge=1, le=1_000, description="messages at each of these moments")
    sizes: list[Size] = Field(default=[4_096], min_length=1, description="one is drawn for each message")
    recipients: list[Annotated[int, Field(ge=1, le=100)]] = Field(
        default=[1], min_length=1, description="how many a message has; one is drawn"
    )
    connection: int = Field(default=1, ge=1, le=1_000, description="messages over one connection")


class Reader(User):
    """Opens boxes in turn by POP3; each box is opened once in ``every``."""

    every: Time = Field(description="how often a box is opened")
    share: float = Field(
        default=1.0, ge=0.001, le=1_000, description="share of the boxes, beside the other classes of readers"
    )


class Poller(Reader):
    """Looks (STAT, UIDL) and takes nothing; its boxes are emptied at the end."""

    kind: Literal["poller"]


class Fetcher(Reader):
    """Takes each message (RETR) and deletes it (DELE, QUIT)."""

    kind: Literal["fetcher"]


class Hoarder(Reader):
    """Takes what is new and leaves it on the server; with ``keep`` no more than so much of it."""

    kind: Literal["hoarder"]
    keep: int | None = Field(
        default=None, ge=1, le=1_000_000, description="so many messages stay, the oldest go; without it all stay"
    )


class Rude(User):
    """Behaves badly at POP3 and SMTP, at any moment."""

    kind: Literal["rude"]
    rate: float = Field(default=1.0, ge=SLOWEST, le=1_000, description="bad deeds a second for one user")
    manners: list[Manner] = Field(default=["hang-up", "wrong-password", "slow-reader", "half-command", "nonsense"])


class Mover(Table):
    """Makes mailboxes and gives them other names, one after the other, and mails to each. One, beside the host."""

    kind: Literal["mover"]
    every: Time = Field(description="how often a mailbox is made")


AnyReader = Poller | Fetcher | Hoarder
AnyUser = Annotated[Sender | Poller | Fetcher | Hoarder | Rude | Mover, Field(discriminator="kind")]


class Phase(Table):
    """From a moment on, all that senders and rude users do comes ``pace`` times as fast."""

    at: Length
    pace: float = Field(ge=0.001, le=1_000)


class Break(Table):
    """One fault; exactly one of these keys."""

    stop: Service | None = None
    kill: Service | None = None
    pause: Service | None = None
    partition: Service | None = None
    restart: Service | None = None
    fill: Disk | None = None
    read_only: Literal["popboxes"] | None = Field(default=None, alias="read-only")

    @property
    def kind(self) -> str:
        """The fault as the file spells it."""
        return self._set()[0]

    @property
    def target(self) -> str:
        """A service or a disk."""
        return str(getattr(self, self.kind.replace("-", "_")))

    def _set(self) -> list[str]:
        return [name.replace("_", "-") for name in Break.model_fields if getattr(self, name) is not None]

    @model_validator(mode="after")
    def _one(self) -> Break:
        if len(self._set()) != 1:
            raise ValueError("give exactly one of 'stop', 'kill', 'pause', 'partition', 'restart', 'fill', 'read-only'")
        return self


class Fault(Break):
    """A fault on the timeline."""

    at: Length
    lasts: Length = Field(default=2.0, alias="for", description="healed after that")


class RandomFaults(Table):
    """Faults drawn by the seed, one at a time; all of them in turn before one comes again."""

    every: Range = Field(description="shortest and longest time from one to the next")
    lasts: Range = Field(default=[1.0, 5.0], alias="for", description="shortest and longest")
    faults: list[Break] = Field(min_length=1, alias="of")

    @model_validator(mode="after")
    def _in_order(self) -> RandomFaults:
        if any(low > high for low, high in (self.every, self.lasts)) or self.every[0] <= 0:
            raise ValueError("the shorter time comes first")
        return self


class Accounts(Table):
    """The mailboxes that the run makes for itself: ``domains`` times ``mailboxes``."""

    domains: int = Field(default=1, ge=1, le=10_000)
    mailboxes: int = Field(default=20, ge=1, le=1_000_000, description="of each domain")
    domain: str = Field(default="load-{}.example", pattern=r"^[a-z0-9-]+\{\}\.[a-z.-]+$", description="{} is a number")


class Plan(Table):
    """A load file."""

    title: str = Field(min_length=1, max_length=200)
    users: int = Field(default=10, ge=1, le=100_000, description="all classes together")
    spawn_rate: float = Field(
        default=100.0, ge=SLOWEST, le=100_000, alias="spawn-rate", description="users that begin in a second"
    )
    lasts: Time = Field(alias="for", description="how long there is load")
    drain: Length = Field(default=60.0, description="how long what was accepted may take to be visible afterwards")
    seed: int = 1
    accounts: Accounts = Accounts()
    classes: dict[Identifier, AnyUser] = Field(alias="user", min_length=1)
    phases: list[Phase] = Field(default=[], alias="phase")
    faults: list[Fault] = Field(default=[], alias="fault")
    random_faults: RandomFaults | None = Field(default=None, alias="random-faults")
    budgets: Budgets = Budgets()

    @property
    def breaks(self) -> list[Break]:
        """All faults that may come."""
        return [*self.faults, *(self.random_faults.faults if self.random_faults else [])]

    @property
    def breaks_disks(self) -> bool:
        """Whether the host needs disks of its own for them."""
        return any(one.kind in DISKS for one in self.breaks)

    @model_validator(mode="after")
    def _within(self) -> Plan:
        if not any(one.kind == "sender" for one in self.classes.values()):
            raise ValueError("a run without a sender proves nothing")
        for one in self.faults:
            if one.at >= self.lasts:
                raise ValueError(f"the fault '{one.kind} {one.target}' comes after the end of the load")
        return self
