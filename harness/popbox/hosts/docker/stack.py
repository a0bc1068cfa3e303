"""compose.yaml, started through testcontainers."""

from __future__ import annotations

import subprocess
from pathlib import Path

from testcontainers.compose import DockerCompose

from popbox.errors import HostError
from popbox.hosts.base import tail
from popbox.hosts.containers import small_disks
from popbox.hosts.docker.engine import qmail_base
from popbox.hosts.process import run_bounded
from popbox.settings import Settings


class Stack(DockerCompose):
    """testcontainers' compose project with a deadline on every command and without output of its own."""

    def __init__(self, settings: Settings, project: str, mta: str, own_disk: bool = False) -> None:
        """The compose file's variables are handed over in a file, so that two stacks in one process do not mix."""
        variables = {
            "COMPOSE_PROJECT_NAME": project,
            "COMPOSE_PROFILES": "qmail" if mta == "qmail" else "standin",
            "POPBOX_SMTP_PORT": "127.0.0.1::25",
            "POPBOX_POP3_PORT": "127.0.0.1::110",
            "POPBOX_POP3S_PORT": "127.0.0.1::995",
            "QMAIL_BASE": qmail_base(settings) if mta == "qmail" else "",
        }
        self.env_path = settings.state / "compose" / f"{project}.env"
        self.env_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.env_path.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
        self.disk_path = self.env_path.with_suffix(".disk.yaml")
        files = ["compose.yaml"]
        if own_disk:
            self.disk_path.write_text(small_disks(mta))
            files.append(str(self.disk_path))
        super().__init__(settings.assets, compose_file_name=files, env_file=str(self.env_path), wait=False)

    def command(self, *argv: str, within_s: float, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run ``docker compose ARGV``. Raises HostError at the deadline."""
        command = [*self.compose_command_property, *argv]
        return run_bounded(command, within_s=within_s, stdin=stdin, cwd=Path(self.context))

    def must(self, *argv: str, within_s: float) -> str:
        """Like ``command``, but a non-zero exit is a HostError that carries the command's last words."""
        done = self.command(*argv, within_s=within_s)
        if done.returncode:
            raise HostError(
                f"docker compose {argv[0]} ended with {done.returncode}", tail(done.stderr.decode(errors="replace"))
            )
        return done.stdout.decode(errors="replace")
