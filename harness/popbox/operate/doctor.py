"""What this machine can run, what is missing for the rest, and how to install it. It only reads and starts nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from popbox.environment import of_docker
from popbox.errors import HostError
from popbox.hosts.choose import HostName, MtaName, choose, no_engine
from popbox.hosts.local_files import scratch
from popbox.hosts.state import Registry
from popbox.settings import Settings

BASE = "debian:bookworm-slim"  # what compose.yaml builds on by default
FREE_OCTETS = 2 << 30  # our choice: three images are 0.5 GB, and their build needs as much again
ASK_S = 10.0
WORLDS: tuple[tuple[HostName, MtaName], ...] = (("local", "standin"), ("docker", "standin"), ("docker", "qmail"))


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. Where it is missing, ``needed_for`` says for what, and ``how`` what to do."""

    name: str
    there: bool
    said: str
    needed_for: str
    how: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Everything that popbox needs, in the order in which one would get it."""
    looks: tuple[Callable[[Settings], Finding], ...] = (
        _python,
        _files,
        _state,
        _room,
        _way,
        _programs,
        _engine,
        _buildx,
        _base_image,
        _qmail,
    )
    return [look(settings) for look in looks]


def worlds(settings: Settings) -> dict[str, str]:
    """``host/mta`` -> why it is unavailable here; empty where it is available."""
    found = {}
    for host, mta in WORLDS:
        try:
            choose(host, mta, settings)
            found[f"{host}/{mta}"] = ""
        except HostError as error:
            found[f"{host}/{mta}"] = error.what
    return found


def left_up(settings: Settings) -> list[str]:
    """Hosts that are up or were left behind: kept ones, those of another popbox that runs, those of one that died."""
    state = {True: "kept", False: "in use"}
    return [
        f"host {one.host}, MTA {one.mta}: {one.place}"
        f" ({state[one.kept] if one.kept or one.owner.lives() else 'left behind: its popbox has ended'})"
        for one in Registry(settings.state).all()
    ]


def _python(_: Settings) -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("Python", sys.version_info >= (3, 11), version, "everything", "install Python 3.11 or newer")


def _files(settings: Settings) -> Finding:
    missing = [name for name in ("compose.yaml", "images", "scenarios") if not (settings.assets / name).exists()]
    said = f"{', '.join(missing)} missing in {settings.assets}" if missing else str(settings.assets)
    return Finding(
        "popbox's own files", not missing, said, "host docker", "install popbox again, or clone it completely"
    )


def _state(settings: Settings) -> Finding:
    place = next(path for path in (settings.state, *settings.state.parents) if path.exists())
    writable = os.access(place, os.W_OK | os.X_OK)
    return Finding(
        "state directory", writable, str(settings.state), "any host", "set XDG_STATE_HOME to a place of yours"
    )


def _room(_: Settings) -> Finding:
    try:
        place = scratch()
    except HostError as error:
        return Finding("room", False, error.what, "building images, large mailboxes", "free some, or set TMPDIR")
    free = shutil.disk_usage(place).free
    said = f"{free / (1 << 30):.1f} GiB free in {place}"
    how = f"free {FREE_OCTETS >> 30} GiB there, or set TMPDIR"
    return Finding("room", free >= FREE_OCTETS, said, "building images, large mailboxes", how)


def _closed(*paths: Path) -> str:
    """As root the daemons become popuser, who must get through to their files (Q-PERM-6): where he cannot, in words."""
    closed = [] if os.geteuid() else [one for path in paths for one in path.parents if not one.stat().st_mode & 0o001]
    return f"uid 888 cannot pass {closed[-1]}" if closed else ""


def _way(_: Settings) -> Finding:
    try:
        place = scratch()
        said = _closed(Path(place, "home"))
    except HostError as error:
        place, said = "", error.what
    how = "set TMPDIR to a directory that others may enter"
    return Finding("temporary directory", not said, said or place, "host local as root", how)


def _programs(_: Settings) -> Finding:
    said = _closed(Path(sys.executable).resolve(), Path(__file__))
    how = "install Python and popbox where others may enter, or run as another user"
    return Finding("way to the programs", not said, said or "open", "the HOWTO's chain on host local as root", how)


def _engine(settings: Settings) -> Finding:
    why = no_engine(settings)
    by_script = " (on Debian 12 `.ci/engine` does so)" if _in_a_checkout(settings) else ""
    how = f"install Docker with Compose v2 and start it{by_script}, or join the group docker"
    return Finding("Docker engine, Compose v2", not why, why or "they answer", "host docker", how)


def _in_a_checkout(settings: Settings) -> bool:
    return (settings.assets / ".ci/engine").is_file()


def _asked(settings: Settings, *argv: str) -> str:
    """The first line of a program's answer; empty where it fails or is not there."""
    try:
        env = of_docker(settings.environ)
        done = subprocess.run(
            argv, env=env, capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=ASK_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.partition("\n")[0] if done.returncode == 0 else ""


def _buildx(settings: Settings) -> Finding:
    said = _asked(settings, "docker", "buildx", "version")
    return Finding("buildx", bool(said), said or "not there", "building images", "install docker-buildx")


def _base_image(settings: Settings) -> Finding:
    here = bool(_asked(settings, "docker", "image", "inspect", "--format", "{{.Id}}", BASE))
    said = f"{BASE} is here" if here else f"{BASE} is not here; the first build pulls it"
    made = "`.ci/engine`, which makes it from Debian's packages"
    brought = "`docker load` what `docker save` wrote on a machine that can"
    how = f"`docker pull {BASE}`, or where nothing can be pulled {made if _in_a_checkout(settings) else brought}"
    return Finding("base image", here, said, "building images without a way to a registry", how)


def _no_qmail(settings: Settings) -> str:
    from popbox.hosts import docker

    return docker.no_qmail(settings)


def _qmail(settings: Settings) -> Finding:
    why = "without an engine there is no image" if no_engine(settings) else _no_qmail(settings)
    how = (
        "set QMAIL_BASE to an image with /var/qmail, or tag one qmail-base:local; or let the package repository through"
    )
    return Finding("real qmail", not why, why or "an image or its package is available", "MTA qmail", how)
