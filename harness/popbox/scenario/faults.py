"""Breaking the mail host on purpose, mending it, and waiting for it: the tables of ``break`` and ``wait-until``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from popbox.scenario.fields import Below, Identifier, Mode, Table
from popbox.scenario.names import Disk, Service

DISTURBS = ("stop", "kill", "pause", "partition")  # what every user of the host sees
DISKS = ("fill", "read-only")  # what needs a small disk of the host's own


class Break(Table):
    """Break the mail host on purpose; besides ``id`` exactly one key."""

    id: Identifier | None = Field(default=None, description="name of this fault, for a later heal")
    stop: Service | None = Field(default=None, description="end the service in order, as its supervisor does")
    kill: Service | None = Field(default=None, description="kill -9 the service")
    pause: Service | None = Field(default=None, description="freeze the service: it exists and does not answer")
    partition: Service | None = Field(default=None, description="pull the service's network cable")
    fill: Disk | None = Field(default=None, description="fill the disk to its last octet")
    read_only: Literal["popboxes"] | None = Field(
        default=None, alias="read-only", description="no write to the disk succeeds any more"
    )
    chmod: dict[Below, Mode] | None = Field(default=None, min_length=1, description="path -> permission bits")
    drop_line: dict[Below, str] | None = Field(
        default=None, alias="drop-line", min_length=1, description="file -> line to take out"
    )
    remove: Below | None = Field(default=None, description="file or directory to take away, for good")

    @model_validator(mode="after")
    def _one_fault(self) -> Break:
        if len(self._set()) != 1:
            raise ValueError(f"give exactly one of {', '.join(map(repr, FAULTS))}")
        return self

    def _set(self) -> list[str]:
        return [kind for kind, name in FAULTS.items() if getattr(self, name) is not None]

    @property
    def kind(self) -> str:
        """Which fault, as the file spells it."""
        return self._set()[0]

    @property
    def target(self) -> Any:
        """The fault's own value: a service, a disk, a path or a table of paths."""
        return getattr(self, FAULTS[self.kind])


# fault as files spell it -> field of Break
FAULTS = {field.alias or name: name for name, field in Break.model_fields.items() if name != "id"}


class WaitUntil(Table):
    """Wait for the host; exactly one key."""

    answers: Service | None = Field(default=None, description="the service greets: 220, +OK")
    silent: Service | None = Field(default=None, description="the service greets no more")
    done: Identifier | None = Field(default=None, description="the MTA's log has ended the message of that id")

    @model_validator(mode="after")
    def _one_event(self) -> WaitUntil:
        if len(self.model_dump(exclude_none=True)) != 1:
            raise ValueError("give exactly one of 'answers', 'silent', 'done'")
        return self
