"""compose.yaml, started through testcontainers: in a project that is named at every call, with variables of our own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from testcontainers.compose import DockerCompose

from popbox.environment import of_docker
from popbox.errors import HostError
from popbox.hosts.base import tail
from popbox.hosts.docker.engine import RUN_LABEL
from popbox.hosts.docker.faults import HOLDER, holds, small_disks
from popbox.hosts.docker.images import OUR_LABEL
from popbox.hosts.process import run_bounded
from popbox.hosts.state import Record
from popbox.settings import Settings

# What compose.yaml makes for one MTA. `default` is the network of a file that names none.
NETWORKS = ("smtp", "pop", "default")
VOLUMES = ("control", "users", "alias", "queue", "popboxes", "log", "accounts", "tls")
SELDOM = {"healthcheck": {"interval": "30s"}}
"""Of the images it is 5 s. A run asks the services itself, and each check starts a dozen programs beside its tests."""


class Stack(DockerCompose):
    """testcontainers' compose project with a deadline on every command and without output of its own."""

    def __init__(self, settings: Settings, record: Record, own_disk: bool = False) -> None:
        """The project that a record names. Starts and writes nothing."""
        super().__init__(settings.assets, wait=False)
        self._record, self._own_disk = record, own_disk
        self.environ = of_docker(settings.environ, record.id)
        self.labels_path = settings.state / "compose" / f"{record.place}.json"

    @property
    def smtp(self) -> str:
        """The service that takes mail."""
        return "qmail" if self._record.mta == "qmail" else "standin"

    def write(self, tag: str, qmail_base: str, address: str) -> None:
        """What this host is: images of ``tag``, ports published on ``address``, our label on all that belongs to it."""
        at = f"[{address}]" if ":" in address else address
        self.environ |= {
            "POPBOX_TAG": tag,
            "POPBOX_SMTP_PORT": f"{at}::25",
            "POPBOX_POP3_PORT": f"{at}::110",
            "POPBOX_POP3S_PORT": f"{at}::995",
            "POPBOX_SMTP_METRICS_PORT": f"{at}::9125",
            "POPBOX_POP3_METRICS_PORT": f"{at}::9110",
            "POPBOX_LOG_MESSAGES": "yes",
            "QMAIL_BASE": qmail_base if self._record.mta == "qmail" else "",
        }
        self.labels_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.labels_path.write_text(json.dumps(self._labelled(), indent=1), "utf-8")

    def _labelled(self) -> dict[str, object]:
        """A compose file over compose.yaml."""
        label, image = {"labels": {RUN_LABEL: self._record.id}}, dict([OUR_LABEL.split("=")])
        built = {"build": {"labels": image}} if Path(self.context, "images").is_dir() else {}
        disks = small_disks(self._record.mta) if self._own_disk else {}
        holder = {HOLDER: label | holds(disks)} if disks else {}
        service: dict[str, object] = {**label, **built, **SELDOM}
        return {
            "services": dict.fromkeys((self.smtp, "pop3"), service) | holder,
            "networks": dict.fromkeys(NETWORKS, label),
            "volumes": {name: label | disks.get(name, {}) for name in VOLUMES},
        }

    @property
    def compose_command_property(self) -> list[str]:
        """Nothing is left to the shell's COMPOSE_... or to a file `.env`: neither the project nor a file nor a profile.

        A host without a file of ours is a deployment that was found: it is asked by its name.
        """
        files = [Path(self.context, "compose.yaml"), *([self.labels_path] if self.labels_path.exists() else [])]
        named = ["--project-name", self._record.place, "--project-directory", str(self.context)]
        given = [part for file in files for part in ("--file", str(file))]
        return ["docker", "compose", *named, *given, "--env-file", "/dev/null", "--profile", self.smtp]

    def command(self, *argv: str, within_s: float, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run ``docker compose ARGV``.

        Raises:
            HostError: it did not end by the deadline.
        """
        command = [*self.compose_command_property, *argv]
        return run_bounded(command, within_s=within_s, env=self.environ, stdin=stdin, cwd=Path(self.context))

    def must(self, *argv: str, within_s: float) -> str:
        """Like ``command``; returns its output.

        Raises:
            HostError: it ended with a code other than 0; the error carries its last words.
        """
        done = self.command(*argv, within_s=within_s)
        if done.returncode:
            raise HostError(
                f"docker compose {argv[0]} ended with {done.returncode}", tail(done.stderr.decode(errors="replace"))
            )
        return done.stdout.decode(errors="replace")
