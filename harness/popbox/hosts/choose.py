"""Which host and MTA a run uses: what was asked for, or the best that this machine can do, and why."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from popbox.errors import HostError, PopboxError
from popbox.hosts.base import Host
from popbox.hosts.process import undisturbed
from popbox.hosts.state import Record, Registry
from popbox.settings import HostName as HostName
from popbox.settings import MtaName as MtaName
from popbox.settings import Settings

if TYPE_CHECKING:
    from popbox.hosts.docker import DockerHost
    from popbox.hosts.local import LocalHost


@dataclass(frozen=True, slots=True)
class Choice:
    """The host and MTA chosen, and the reason in words for each part that was left to popbox."""

    host: Literal["local", "docker", "remote"]
    mta: Literal["qmail", "stand-in", "unknown"]
    why: str


def choose(host: HostName, mta: MtaName, settings: Settings) -> Choice:
    """Choose a host and an MTA. An explicit choice is never replaced by another.

    Raises:
        HostError: an explicit choice is not available on this machine.
    """
    if host == "local":
        if mta == "qmail":
            raise HostError("host local has no qmail: it runs the stand-in MTA; take --host docker for qmail")
        return Choice("local", "stand-in", "" if mta == "standin" else "host local runs the stand-in MTA")
    lacking = no_engine(settings)
    if lacking and host == "auto" and mta != "qmail":
        return Choice("local", "stand-in", f"no Docker engine: {lacking}")
    if lacking:
        raise HostError(f"host docker is not available: {lacking}")
    why = ["a Docker engine answers"] if host == "auto" else []
    if mta == "standin":
        return Choice("docker", "stand-in", "; ".join(why))
    from popbox.hosts import docker

    no_qmail = docker.no_qmail(settings)
    if no_qmail and (mta == "qmail" or settings.qmail_base):  # whoever names an image wants that qmail
        raise HostError(f"MTA qmail is not available: {no_qmail}")
    if no_qmail:
        return Choice("docker", "stand-in", "; ".join([*why, f"no qmail: {no_qmail}"]))
    return Choice(
        "docker", "qmail", "; ".join([*why, *(["an image with qmail is available"] if mta == "auto" else [])])
    )


def no_engine(settings: Settings) -> str:
    """Why host docker cannot run here; empty where it can."""
    try:
        with undisturbed():
            from popbox.hosts import docker  # the docker packages take a second to import: only when they may be needed
    except ModuleNotFoundError as error:  # in popbox/box there is no way to an engine, and nothing that would ask it
        return f"the Python package {(error.name or '').partition('.')[0]} is not installed"
    return docker.unavailable(settings.environ)


def start(choice: Choice, settings: Settings, registry: Registry | None = None, *, own_disk: bool = False) -> Host:
    """Bring the chosen host up, ready for use, after removing what killed runs left behind.

    ``own_disk``: queue and popboxes on small file systems of their own, which may be filled.

    Raises:
        HostError: the host did not start; nothing of it is left behind.
    """
    registry = registry or Registry(settings.state)
    sweep(settings)
    if choice.host == "local":
        return _local().start(registry, own_disk=own_disk, environ=settings.environ)
    return _docker().start(registry, settings, choice.mta, own_disk=own_disk)


def prepare(choice: Choice, settings: Settings) -> None:
    """Build images, which takes long the first time, so that a later ``start`` is fast.

    Raises:
        HostError: an image cannot be built.
    """
    if choice.host == "docker":
        _docker().prepare(settings, choice.mta)


def attach(record: Record, settings: Settings, registry: Registry) -> Host:
    """A host that some process brought up, by its record; starts nothing and asks nothing."""
    if record.host == "local":
        return _local()(registry, record, settings.environ)
    return _docker()(registry, record, settings)


def _local() -> type[LocalHost]:
    """Import a host's module when it is first needed, without interruption.

    An interrupt during the import would leave the lock of the import system held, and block threads that start hosts.
    """
    with undisturbed():
        from popbox.hosts.local import LocalHost
    return LocalHost


def _docker() -> type[DockerHost]:
    with undisturbed():
        from popbox.hosts.docker import DockerHost
    return DockerHost


def said_of(record: Record) -> str:
    """A host in words: name, kind, place, and whose it is."""
    if record.kept:
        whose = "kept"
    elif not record.owner.lives():
        whose = "left behind: its popbox has ended"
    else:
        whose = f"in use by process {record.owner.pid}" + ("" if record.owner.seen_from_here() else ", elsewhere")
    return f"{record.id}: host {record.host}, MTA {record.mta}, {record.place} ({whose})"


def sweep(settings: Settings) -> None:
    """Remove what killed runs left behind. What cannot be removed now stays for the next time; that is no error."""
    registry = Registry(settings.state)
    registry.tidy()
    with suppress(PopboxError):
        for record in registry.orphans():
            with suppress(PopboxError, OSError):
                attach(record, settings, registry).close()
