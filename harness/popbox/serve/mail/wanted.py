"""Which messages a wait, or a proof that there is none, is about; and those of them that are in the store."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field, field_validator

from popbox.journey.store import Filters, Store
from popbox.serve.duration import seconds
from popbox.serve.errors import ApiError
from popbox.serve.journeys import GREATEST, Cursor, exactly
from popbox.serve.mail.arrivals import Arrival, family_of
from popbox.serve.mail.news import ANY
from popbox.serve.space import Space

PAGE = 1_000
MOST_LOOKED = 10_000  # our choice: messages of one question; each costs about 0.2 ms


class Wanted(BaseModel):
    """What must fit, whole and never in part. A parameter that is not known is refused: it would find too much."""

    model_config = ConfigDict(extra="forbid")

    to: str | None = exactly("the address that it was sent to, or that it was forwarded to")
    subject: str | None = exactly("decoded")
    sender: str | None = Field(None, alias="from", min_length=1, max_length=2_000, description="From or envelope")
    since: Cursor = 0
    within: str = Field("30s", max_length=20, description="how long: 500ms, 30s, 2m; at most an hour")

    @field_validator("within")
    @classmethod
    def _is_duration(cls, value: str) -> str:
        seconds(value)
        return value

    @property
    def within_s(self) -> float:
        """``within`` in seconds."""
        return seconds(self.within)

    @property
    def name(self) -> str:
        """The address to watch, in lower case."""
        return self.to.lower() if self.to else ANY

    @property
    def seen(self) -> int:
        """Arrivals up to this id are not wanted, whatever they are."""
        return 0

    def check(self, within: Space | None) -> None:
        """Refuse what would mean every message there is, and in a space what would tell of others.

        Raises:
            ApiError: neither ``to`` nor ``subject`` is given, in no space; or ``to`` is not of the space.
        """
        if within and self.to and not within.holds(self.to):
            raise ApiError(422, f"{self.to} is no address of this space", f"its addresses end in @{within.domain}")
        if not (self.to or self.subject or within):
            raise ApiError(422, "which message?", "give to or subject, from alone is not enough")

    def takes(self, one: Arrival, within: Space | None) -> bool:
        """Whether an arrival is wanted."""
        return (
            one.began > self.since
            and (self.to is None or self.to.lower() in one.names)
            and (self.subject is None or self.subject == one.subject)
            and (self.sender is None or self.sender.lower() in one.senders)
            and (within is None or within.holds(one.to))
        )

    def words(self) -> str:
        """What is wanted, in words."""
        said = [f"for {self.to}"] if self.to else []
        said += [f"with the subject {self.subject!r}"] if self.subject else []
        said += [f"from {self.sender}"] if self.sender else []
        return "a message " + " ".join(said) if said else "a message"

    def path(self, at: str, **other: Any) -> str:
        """The same question again, with other values for some parameters."""
        said = {**self.model_dump(by_alias=True, exclude_defaults=True), **other}
        return f"{at}?{urlencode(said)}"


class WantedMessages(Wanted):
    """What a wait waits for."""

    after: int = Field(0, ge=0, le=GREATEST, description="only messages with a greater id: those not seen yet")
    count: int = Field(1, ge=1, le=100, description="how many")

    @property
    def seen(self) -> int:
        """Those that this client was given before."""
        return self.after

    def takes(self, one: Arrival, within: Space | None) -> bool:
        """Whether an arrival is wanted."""
        return one.id > self.after and super().takes(one, within)


def messages_behind(store: Store, filters: Filters, since: int) -> list[int]:
    """Ids of all messages that fit and began behind a cursor.

    Raises:
        ApiError: they are too many to be looked at for one answer.
    """
    ids: list[int] = []
    while page := store.search(filters, ids[-1] if ids else since, PAGE, oldest_first=True):
        ids += page
        if len(ids) > MOST_LOOKED:
            hint = "take the cursor just before what you wait for, and give it as since"
            raise ApiError(422, f"more than {MOST_LOOKED} messages fit since that cursor", hint)
        if len(page) < PAGE:
            break
    return ids


def there(store: Store, wanted: Wanted, within: Space | None) -> list[Arrival]:
    """The arrivals in the store that are wanted, oldest first.

    Raises:
        ApiError: too many messages fit.
    """
    filters = Filters(to=wanted.to, subject=wanted.subject, domain=within.domain if within else None)
    ids = messages_behind(store, filters, wanted.since)
    roots = [one for one in dict.fromkeys(map(store.root_of, ids)) if store.filed_behind(one, wanted.seen)]
    found = {one.id: one for root in roots for one in family_of(store, root) if wanted.takes(one, within)}
    return [found[id] for id in sorted(found)]
