"""Which mail host a command is about: the one that is named, or the only one that is up."""

from __future__ import annotations

import re

from popbox.errors import HostError
from popbox.hosts.base import Host
from popbox.hosts.choose import attach
from popbox.hosts.state import Process, Record, Registry
from popbox.settings import Settings

RUN = re.compile(r"popbox-[0-9a-f]{8}")  # a project of some popbox run, perhaps another user's
NO_OWNER = Process(0, 0)  # no popbox removes a deployment


def targets(settings: Settings) -> dict[str, Record]:
    """Name -> record of each host that is up: those popbox keeps, by id, and compose deployments, by project."""
    records = Registry(settings.state).all()
    found = {one.id: one for one in records if _is_up(one)}
    try:
        from popbox.hosts.docker import projects
    except ModuleNotFoundError:  # without the package docker there is no engine to ask
        return found
    for project, mta in projects(settings.environ).items():
        if not RUN.fullmatch(project):
            found[project] = Record(project, "docker", mta, project, NO_OWNER, kept=True)
    return found


def consoles(settings: Settings, found: dict[str, Record]) -> dict[str, str]:
    """Name -> address of the console of each compose deployment that has one."""
    deployments = [name for name, one in found.items() if one.owner == NO_OWNER]
    if not deployments:
        return {}
    from popbox.hosts.docker import consoles as published

    there = published(settings.environ)
    return {name: there[name] for name in deployments if name in there}


def _is_up(record: Record) -> bool:
    return record.kept or record.owner.lives()  # one left behind is for `down` only


def kept_here(settings: Settings) -> str:
    """The name of the one host that this process has brought up and keeps."""
    (record,) = (one for one in Registry(settings.state).mine() if one.kept)
    return record.id


def target(settings: Settings, name: str | None = None) -> Host:
    """The host of that name; without one, the only host that is up.

    Raises:
        HostError: there is no such host, or more than one; lists those that are up.
    """
    return named(settings, name)[1]


def named(settings: Settings, name: str | None = None) -> tuple[str, Host]:
    """The host as ``target`` finds it, behind the name that it has.

    Raises:
        HostError: as ``target``.
    """
    records = Registry(settings.state)
    if record := next((one for one in records.all() if one.id == name and _is_up(one)), None):
        return record.id, attach(record, settings, records)  # without the second that it takes to ask an engine
    found = targets(settings)
    if name is not None and name not in found:
        raise HostError(f"no host is up by the name {name!r}; there {_listed(found)}")
    if name is None and len(found) != 1:
        raise HostError(f"name the host with --on NAME; there {_listed(found)}" if found else NONE)
    name = name or next(iter(found))
    return name, attach(found[name], settings, records)


NONE = "no host is up: `popbox up` brings one up, `docker compose up --wait` a deployment"


def _listed(found: dict[str, Record]) -> str:
    return f"are: {', '.join(f'{name} ({one.host}, {one.mta})' for name, one in found.items())}" if found else "is none"
