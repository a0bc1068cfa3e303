"""The mail host as the compose project that users deploy: compose.yaml, started through testcontainers."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.models.containers import Container
from testcontainers.compose import DockerCompose

import docker
from popbox.clients.wire import Address, Wire
from popbox.errors import ConnectionFailed, HostError
from popbox.fields import Disk
from popbox.hosts.base import Ability, Entry, Found, Ran, Service, tail
from popbox.hosts.containers import Faults, small_disks
from popbox.hosts.process import converse, run_bounded, undisturbed
from popbox.hosts.readiness import wait_ready
from popbox.hosts.state import Record, Registry, keep
from popbox.hosts.warm import Cold, Warm
from popbox.settings import Settings

LOCAL_BASE = "qmail-base:local"
PACKAGE_KEY = "https://download.opensuse.org/repositories/home:/notqmail/Debian_12/Release.key"
HOME = "/var/qmail"
POPUSER_UID = 888
PROJECT_LABEL = "com.docker.compose.project"
STOP_S = 10  # our choice: how long a service may drain before the engine kills it
BUILD_S, UP_S, EXEC_S, DOWN_S = 900.0, 90.0, 60.0, 60.0  # our choice: about ten times what a small machine needs
PYTHON = ("/opt/mailhost/bin/python3", "-I")  # the interpreter of images/mailhost/install
INNER_PORT: dict[Service, int] = {"smtp": 25, "pop3": 110}

# One program, one exec: every regular file below the folders of ``top`` that holds one of the needles (read from stdin,
# a line each) or cannot be read, as JSON with its octets. What another session moves away meanwhile is left out.
FIND = """
import base64, json, os, stat, sys
top, *folders = sys.argv[1:]
needles = sys.stdin.buffer.read().splitlines(keepends=True)
walk = [os.path.join(place, name) for one in folders for place, _, names in os.walk(f"{top}/{one}") for name in names]
for path in sorted(walk):
    try:
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode):
            continue
        with open(path, "rb") as file:
            octets, readable = file.read(), True
    except FileNotFoundError:
        continue
    except PermissionError:
        octets, readable = b"", False
    if not needles or not readable or any(needle in octets for needle in needles):
        entry = [os.path.relpath(path, top), found.st_mode & 0o7777, *found[4:7], found.st_mtime]
        print(json.dumps([entry, base64.b64encode(octets).decode(), readable]))
"""


def unavailable() -> str:
    """Why no Docker engine with Compose v2 can be used from here; empty when one can."""
    try:
        docker.from_env(timeout=5).ping()
    except (DockerException, OSError) as error:
        return f"the engine does not answer ({_reason(error)})"
    if not shutil.which("docker"):
        return "the program `docker` is not installed"
    done = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False, timeout=EXEC_S)
    return "" if done.returncode == 0 else "`docker compose` (Compose v2) is not installed"


def projects() -> dict[str, str]:
    """Compose projects with a container that takes mail, whoever started them -> their MTA. Empty without an engine."""
    if unavailable():
        return {}
    found = {}
    for container in docker.from_env(timeout=5).containers.list(all=True, filters={"label": PROJECT_LABEL}):
        title = container.labels.get("org.opencontainers.image.title")
        if title in ("popbox/qmail", "popbox/standin"):
            found[container.labels[PROJECT_LABEL]] = "qmail" if title == "popbox/qmail" else "stand-in"
    return found


def _reason(error: BaseException) -> str:
    """What the system said at the bottom of the libraries' errors, which hold one another as arguments and reasons."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    inner = [one for one in (*error.args, getattr(error, "reason", None)) if isinstance(one, BaseException)]
    inner += [one for arg in error.args if isinstance(arg, tuple) for one in arg if isinstance(one, BaseException)]
    found = inner or [one for one in (error.__cause__, error.__context__) if one is not None]
    return _reason(found[0]) if found else (str(error).splitlines() or [type(error).__name__])[0][:120]


def no_qmail(settings: Settings) -> str:
    """Why no image with qmail can be had; empty when one can."""
    base = settings.qmail_base or LOCAL_BASE
    try:
        docker.from_env(timeout=5).images.get(base)
    except ImageNotFound:
        return f"QMAIL_BASE names the image {base}, which is not here" if settings.qmail_base else _no_package()
    return ""


def _no_package() -> str:
    try:
        with urllib.request.urlopen(PACKAGE_KEY, timeout=3):
            return ""
    except (urllib.error.URLError, OSError):
        return f"there is no image {LOCAL_BASE}, and the notqmail package repository does not answer"


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
            "QMAIL_BASE": _base(settings) if mta == "qmail" else "",
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


def _base(settings: Settings) -> str:
    if settings.qmail_base:
        return settings.qmail_base
    with suppress(ImageNotFound):
        docker.from_env(timeout=5).images.get(LOCAL_BASE)
        return LOCAL_BASE
    return ""


class DockerHost:
    """One compose project. Use ``start``; see ``hosts.base.Host`` for the methods."""

    name, uid = "docker", POPUSER_UID

    def __init__(self, registry: Registry, record: Record, settings: Settings, own_disk: bool = False) -> None:
        """Take over the project that ``record`` names; starts nothing."""
        self._registry, self._record = registry, record
        self.mta = record.mta
        self._stack, self._own_disk = Stack(settings, record.place, record.mta, own_disk), own_disk
        self._faults = Faults(record.place, lambda service: str(self._container(service).name))
        self._engine = docker.from_env(timeout=30)
        self._warm = {service: self._python_in(service) for service in INNER_PORT}

    @classmethod
    def start(cls, registry: Registry, settings: Settings, mta: str, *, own_disk: bool = False) -> DockerHost:
        """Build what is not built, bring the project up, wait for both greetings. Raises HostError, leaving nothing.

        ``own_disk``: queue and popboxes on small file systems; the queue then ends with its container.
        """
        record = registry.new(cls.name, mta, "")
        record = registry.placed(record, f"popbox-{record.id}")
        host = cls(registry, record, settings, own_disk)
        try:
            host._bring_up()
        except BaseException:
            host.close()
            raise
        return host

    def _bring_up(self) -> None:
        self._stack.must("build", "--quiet", within_s=BUILD_S)
        deadline = time.monotonic() + UP_S
        try:
            self._stack.must("up", "--detach", "--quiet-pull", within_s=UP_S)
        except HostError as error:
            raise HostError(error.what, f"{error.log}\n{self._all_logs()}") from error
        for service in INNER_PORT:
            wait_ready(self, service, deadline)

    def _all_logs(self) -> str:
        return tail(self._stack.command("logs", "--no-color", within_s=EXEC_S).stdout.decode(errors="replace"))

    def _compose_service(self, service: Service) -> str:
        return "pop3" if service == "pop3" else "qmail" if self.mta == "qmail" else "standin"

    def _container(self, service: Service) -> Container:
        labels = [
            f"{PROJECT_LABEL}={self._record.place}",
            f"com.docker.compose.service={self._compose_service(service)}",
        ]
        found = self._engine.containers.list(all=True, filters={"label": labels})
        if not found:
            raise HostError(f"{service} on {self.describe()}: there is no container")
        return found[0]

    def address(self, service: Service) -> Address:
        """See Host."""
        ports = self._container(service).attrs["NetworkSettings"]["Ports"].get(f"{INNER_PORT[service]}/tcp")
        if not ports:
            raise ConnectionFailed(
                f"{service} on {self.describe()} has no port: {self.alive(service) or 'its container is on no network'}"
            )
        return Address(ports[0]["HostIp"], int(ports[0]["HostPort"]))

    def _exec(self, service: Service, *argv: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return self._stack.command("exec", "-T", self._compose_service(service), *argv, within_s=EXEC_S, stdin=stdin)

    def _exec_must(self, service: Service, *argv: str, stdin: bytes = b"") -> bytes:
        done = self._exec(service, *argv, stdin=stdin)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise HostError(f"{argv[0]} in {service} on {self.describe()} ended with {done.returncode}: {said}")
        return done.stdout

    def _python_in(self, service: Service) -> Warm:
        argv = [*self._stack.compose_command_property, "exec", "-T", self._compose_service(service), *PYTHON]
        return Warm(argv, Path(self._stack.context))

    def run(self, *argv: str, stdin: bytes = b"") -> Ran:
        """See Host."""
        code, out, err = self._python("smtp", list(argv), stdin)
        return Ran(argv, code, out.decode(errors="replace"), err.decode(errors="replace"))

    def _python(self, service: Service, argv: list[str], stdin: bytes, code: str = "") -> tuple[int, bytes, bytes]:
        """``mailhost ARGV``, or a Python program ``code`` with these arguments, in the container of a service."""
        if self._container(service).status == "running":  # a frozen one would not answer, an ended one cannot
            with suppress(Cold):
                return self._warm[service].run(argv, stdin, EXEC_S, code)
        done = self._exec(service, *(["python3", "-c", code] if code else ["mailhost"]), *argv, stdin=stdin)
        return done.returncode, done.stdout, done.stderr

    def find(self, maildir: str, needle: str) -> list[Found]:
        """See Host."""
        found = self._find(f"{HOME}/{maildir}", ("new", "cur"), (needle,))
        return [one for one in found if one.readable or not needle]

    def search(self, needles: tuple[str, ...]) -> list[Found]:
        """See Host."""
        return self._find(HOME, ("popboxes",), needles)

    def _find(self, top: str, folders: tuple[str, ...], needles: tuple[str, ...]) -> list[Found]:
        stdin = "".join(needles).encode()
        status, out, err = self._python("pop3", [top, *folders], stdin, FIND)
        if status:
            raise HostError(
                f"looking for mail on {self.describe()} ended with {status}: {err.decode(errors='replace')}"
            )
        lines = out.splitlines()
        return [Found(Entry(*entry), base64.b64decode(octets), ok) for entry, octets, ok in map(json.loads, lines)]

    def read(self, path: str) -> bytes:
        """See Host."""
        return self._exec_must(self._side(path), "cat", "--", f"{HOME}/{path}")

    def write(self, path: str, octets: bytes) -> None:
        """See Host."""
        self._exec_must(self._side(path, write=True), "sh", "-c", 'cat > "$1"', "sh", f"{HOME}/{path}", stdin=octets)

    def mode(self, path: str) -> int:
        """See Host."""
        return int(self._exec_must(self._side(path), "stat", "-c", "%a", "--", f"{HOME}/{path}"), 8)

    def chmod(self, path: str, mode: int) -> None:
        """See Host."""
        self._exec_must(self._side(path, write=True), "chmod", f"{mode:o}", "--", f"{HOME}/{path}")

    def remove(self, path: str) -> None:
        """See Host."""
        self._exec_must("smtp", "rm", "-r", "--", f"{HOME}/{path}")  # a box's parent is not popuser's with qmail

    @staticmethod
    def _side(path: str, write: bool = False) -> Service:
        """The container that may touch a path: mail belongs to the POP side's uid, users/ it may only read."""
        return "pop3" if path.startswith("popboxes/") or (path.startswith("users/") and not write) else "smtp"

    def stop(self, service: Service) -> None:
        """See Host."""
        self._container(service).stop(timeout=STOP_S)

    def restart(self, service: Service, deadline: float) -> None:
        """See Host."""
        self._container(service).restart(timeout=STOP_S)
        wait_ready(self, service, deadline)

    def pause(self, service: Service, on: bool) -> None:
        """See Host."""
        self._faults.pause(service, on)

    def cut(self, service: Service, on: bool) -> None:
        """See Host."""
        self._faults.cut(service, on)

    def fill(self, disk: Disk, on: bool) -> None:
        """See Host."""
        self._faults.fill(disk, on)

    def read_only(self, disk: Disk, on: bool) -> None:
        """See Host."""
        self._faults.read_only(disk, on)

    def cannot(self, ability: Ability) -> str:
        """See Host."""
        if ability is Ability.OWN_DISK and not self._own_disk:
            return "this host was started without a disk of its own"
        return ""

    def ailments(self) -> list[str]:
        """See Host."""
        ill: list[str] = []
        for service in INNER_PORT:
            ended = self.alive(service)
            ill += [f"{service}: {ended}"] if ended else self._faults.ailments(service, self._container(service).attrs)
        return ill

    def hup(self) -> None:
        """See Host."""
        if self.mta == "qmail":
            self._exec_must("smtp", "s6-svc", "-h", "/run/service/qmail-send")
        else:
            self._container("smtp").kill(signal="HUP")

    def chain(self, timeout_s: float) -> Wire:
        """See Host."""
        programs = ["popup", "mail.popbox.invalid", "checkpoppasswd", "pop3d", "Maildir"]
        argv = [*self._stack.compose_command_property, "exec", "-T", "pop3", *programs]
        return converse(argv, f"the chain on {self.describe()}", timeout_s, Path(self._stack.context))

    def kill(self, service: Service) -> None:
        """See Host."""
        self._container(service).kill()  # the engine restarts no container that was killed by hand

    def beside(self, *argv: str) -> list[str]:
        """See Host. A container of its own: in a frozen or stopped one nothing can be run."""
        smtp = self._container("smtp")
        run = ["docker", "run", "--rm", "--interactive", "--network", "none", "--volumes-from", smtp.id or ""]
        label = f"{PROJECT_LABEL}={self._record.place}"
        return [*run, "--label", label, "--user", "0:0", "--entrypoint", "python3", smtp.attrs["Image"], *argv]

    def alive(self, service: Service) -> str:
        """See Host."""
        state = self._container(service).attrs["State"]
        if state["Running"] and not state["Restarting"]:
            return ""
        if state["Status"] == "created":
            return ""  # compose starts it in a moment
        memory = " (out of memory)" if state["OOMKilled"] else ""
        return f"its container is {state['Status']}, exit code {state['ExitCode']}{memory}"

    def log(self, service: Service) -> str:
        """See Host."""
        octets: bytes = self._container(service).logs()
        return octets.decode(errors="replace")

    def home(self) -> str:
        """See Host."""
        return HOME

    def describe(self) -> str:
        """See Host."""
        return f"host {self.name}, MTA {self.mta}"

    def by_hand(self) -> str:
        """See Host."""
        return f"docker exec {self._container('smtp').name} mailhost"

    def keep(self) -> None:
        """See Host."""
        keep(self._registry, self._record)

    def close(self) -> None:
        """See Host."""
        with undisturbed():
            self._thaw()
            for warm in self._warm.values():
                warm.close()
            self._stack.command("down", "--volumes", "--remove-orphans", "--timeout", "5", within_s=DOWN_S)
            self._reap()
            self._stack.env_path.unlink(missing_ok=True)
            self._stack.disk_path.unlink(missing_ok=True)
            self._registry.forget(self._record)

    def _thaw(self) -> None:
        """A paused container can neither be stopped nor removed."""
        mine: dict[str, str | list[str] | bool] = {"label": f"{PROJECT_LABEL}={self._record.place}", "status": "paused"}
        with suppress(NotFound, APIError):
            for container in self._engine.containers.list(all=True, filters=mine):
                container.unpause()

    def _reap(self) -> None:
        """Remove by label whatever ``down`` missed: an interrupted ``up`` may have created it meanwhile."""
        mine: dict[str, str | list[str] | bool] = {"label": f"{PROJECT_LABEL}={self._record.place}"}
        with suppress(NotFound, APIError):
            for container in self._engine.containers.list(all=True, filters=mine):
                container.remove(force=True, v=True)
            for volume in self._engine.volumes.list(filters=mine):
                volume.remove(force=True)
            for network in self._engine.networks.list(filters=mine):
                network.remove()
