"""Breaking containers on purpose, by the `docker` program: frozen, cut off, with full or read-only disks."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from popbox.errors import HostError, NotPossibleError
from popbox.hosts import disk
from popbox.hosts.docker.engine import OF_NO_PROJECT
from popbox.hosts.process import run_bounded
from popbox.scenario.names import Disk, Service

COMMAND_S = 60.0  # our choice: each of these commands takes well under a second
TRIES, AGAIN_S = 5, 0.5  # our choice: a freezer that is slow, under load, has frozen all by then
FREEZER = re.compile(r"freez|cgroup", re.IGNORECASE)  # runc: "unable to freeze"; crun names the cgroup's file
FORBIDDEN = re.compile(r"not permitted|permission denied", re.IGNORECASE)  # a rootless engine mounts nothing
COMPOSE_NAME = '{{index .Config.Labels "com.docker.compose.service"}}'
HOME = "/var/qmail"
NETWORK: dict[Service, str] = {"smtp": "smtp", "pop3": "pop"}  # names in compose.yaml
SIDE: dict[Disk, Service] = {"queue": "smtp", "popboxes": "pop3"}  # whose container shows the disk


HOLDER = "disks"  # the service that has small disks


def small_disks(mta: str) -> dict[str, dict[str, Any]]:
    """Volumes of a compose file: queue and popboxes on small file systems, which live while a container has them."""
    owner = (
        "" if mta == "qmail" else ",uid=888,gid=888"
    )  # as the stand-in's image has it; qmail's start script sees to it
    options = {"type": "tmpfs", "device": "tmpfs", "o": f"{disk.SMALL},mode=0755{owner}"}
    return {name: {"driver_opts": options} for name in disk.DISKS}


def holds(disks: Iterable[str]) -> dict[str, Any]:
    """A service of a compose file that does nothing but have the disks: so a kill of the MTA keeps its queue."""
    mounts = [{"type": "volume", "source": one, "target": f"/{one}", "volume": {"nocopy": True}} for one in disks]
    return {
        "image": "popbox/pop3:${POPBOX_TAG:-local}",
        "entrypoint": ["sleep", "infinity"],
        "init": True,
        "network_mode": "none",
        "read_only": True,
        "cap_drop": ["ALL"],
        "stop_grace_period": "1s",
        "volumes": mounts,
    }


class Faults:
    """The faults of one compose project."""

    def __init__(self, project: str, label: str, container: Callable[[Service], str], env: Mapping[str, str]) -> None:
        """``container`` gives the name of a service's container, ``label`` says whose a helper is."""
        self._project, self._label, self._container, self._env = project, label, container, env

    def _must(self, *argv: str, engines: re.Pattern[str] | None = None) -> str:
        """What the command printed.

        Raises:
            NotPossibleError: it failed with a message that matches ``engines``.
            HostError: it failed otherwise.
        """
        done = run_bounded(list(argv), within_s=COMMAND_S, env=self._env)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            kind = NotPossibleError if engines and engines.search(said) else HostError
            raise kind(f"`{' '.join(argv[:3])}` ended with {done.returncode}: {said}")
        return done.stdout.decode(errors="replace")

    def pause(self, service: Service, on: bool) -> None:
        """Freeze the container's processes, or let them go on. Some engines need a second try, or always refuse.

        Raises:
            NotPossibleError: the engine cannot freeze the container.
            HostError: it refused for another reason.
        """
        container = self._container(service)
        if not on:
            self._must("docker", "unpause", container)
            return
        for left in reversed(range(TRIES)):
            try:
                self._must("docker", "pause", container, engines=FREEZER)
            except NotPossibleError:
                with suppress(HostError):  # some of its processes may be frozen
                    self._must("docker", "unpause", container)
                if not left:
                    raise
                time.sleep(AGAIN_S)
            else:
                return

    def cut(self, service: Service, on: bool) -> None:
        """Take the container off its network, published port included, or put it back.

        A network forgets the name that Compose gave a container there: without it no other service finds it again.
        """
        container, network = self._container(service), f"{self._project}_{NETWORK[service]}"
        if on:
            self._must("docker", "network", "disconnect", network, container)
        else:
            name = self._must("docker", "inspect", "--format", COMPOSE_NAME, container).strip()
            self._must("docker", "network", "connect", "--alias", name, network, container)

    def fill(self, name: Disk, on: bool) -> None:
        """Fill a small disk as its owner, or free that space again."""
        path, container = f"{HOME}/{name}", self._container(SIDE[name])
        owner = self._must("docker", "exec", container, "stat", "-c", "%u:%g", path).strip()
        fill, empty = ["python3", "-c", disk.FILL, path], ["rm", "--", f"{path}/{disk.FILLER}"]
        self._must("docker", "exec", "--user", owner, container, *(fill if on else empty))

    def read_only(self, name: Disk, on: bool) -> None:
        """For every container that has the disk. A helper does it: the containers themselves may not mount."""
        image = self._must("docker", "inspect", "--format", "{{.Image}}", self._container(SIDE[name])).strip()
        program, *arguments = disk.remount("/disk", on)
        rights = ["--user", "root", "--cap-add", "SYS_ADMIN", "--security-opt", "apparmor=unconfined"]
        place = ["--network", "none", "--volume", f"{self._project}_{name}:/disk", "--entrypoint", program]
        argv = ("docker", "run", "--rm", *rights, *place, "--label", self._label, *OF_NO_PROJECT, image, *arguments)
        self._must(*argv, engines=FORBIDDEN if on else None)

    def ailments(self, service: Service, state: dict[str, Any]) -> list[str]:
        """What is wrong with a container that runs; ``state`` is what the engine says about it."""
        if state["State"]["Paused"]:
            return [f"{service}: its container is paused and does not answer"]
        if not state["NetworkSettings"]["Networks"]:
            return [f"{service}: its container is cut off from its network"]
        paths = [f"{HOME}/{name}" for name, side in SIDE.items() if side == service]
        with suppress(HostError):  # the container has ended; `alive` reports that
            return self._must(
                "docker", "exec", self._container(service), "python3", "-c", disk.EXAMINE, *paths
            ).splitlines()
        return []
