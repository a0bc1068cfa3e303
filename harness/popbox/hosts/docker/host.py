"""The host itself: one compose project, and the methods of ``hosts.base.Host`` on it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from contextlib import closing, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from docker.errors import NotFound
from docker.models.containers import Container

import docker
from popbox.clients.wire import Address, Wire
from popbox.errors import ConnectionFailed, HostError
from popbox.hosts.base import CHAIN, POPUSER_UID, Ability, Command, DirEntry, Found, Ran, Service, tail
from popbox.hosts.docker import images
from popbox.hosts.docker.endpoint import HERE, client, containers, reached_at
from popbox.hosts.docker.engine import EVERYWHERE, OF_NO_PROJECT, PROJECT_LABEL, RUN_LABEL, qmail_base
from popbox.hosts.docker.faults import Faults
from popbox.hosts.docker.following import ContainerFollower
from popbox.hosts.docker.removal import remove, strangers
from popbox.hosts.docker.stack import Stack
from popbox.hosts.following import whole_lines
from popbox.hosts.process import converse, end_as_interrupted, run_bounded, undisturbed
from popbox.hosts.readiness import wait_ready
from popbox.hosts.state import Process, Record, Registry, keep, kill_marked
from popbox.hosts.warm import Cold, Warm
from popbox.scenario.names import Disk
from popbox.settings import Settings

HOME = "/var/qmail"
LINE_OCTETS = 100  # our choice: a short line of a log; one of the POP3 log has 150 and more
STOP_S = 10  # our choice: how long a service may drain before the engine kills it
BUILD_S, UP_S, EXEC_S = 900.0, 90.0, 60.0  # our choice: about ten times what a small machine needs
PYTHON = ("/opt/mailhost/bin/python3", "-I")  # the interpreter of images/mailhost/install
INNER_PORT: dict[Service, int] = {"smtp": 25, "pop3": 110}


class DockerHost:
    """One compose project. Use ``start``; see ``hosts.base.Host`` for the methods."""

    name, uid = "docker", POPUSER_UID

    def __init__(self, registry: Registry, record: Record, settings: Settings, own_disk: bool = False) -> None:
        """Take over the project that ``record`` names; starts nothing."""
        self._registry, self._record = registry, record
        self.mta = record.mta
        self._settings = settings
        self._stack, self._own_disk = Stack(settings, record, own_disk), own_disk
        self._label = f"{RUN_LABEL}={record.id}"
        self._faults = Faults(
            record.place, self._label, lambda service: str(self._container(service).name), self._stack.environ
        )
        self._engine = client(settings.environ)
        self._ids = dict[Service, str]()  # of the containers, as they were found
        self._warm = {service: self._warm_in(service) for service in INNER_PORT}

    @classmethod
    def start(cls, registry: Registry, settings: Settings, mta: str, *, own_disk: bool = False) -> DockerHost:
        """Build what is not built, bring the project up, wait for both greetings.

        ``own_disk``: queue and popboxes on small file systems.

        Raises:
            HostError: the host did not start; nothing of it is left behind.
        """
        end_as_interrupted()
        host = None
        try:
            with undisturbed():
                host = cls(registry, registry.new(cls.name, mta), settings, own_disk)
            host._bring_up()
        except BaseException:
            if host:
                host.close()
            raise
        return host

    @staticmethod
    def prepare(settings: Settings, mta: str) -> str:
        """Build the images that such a host runs on, where they are not here; returns their tag.

        A first build takes minutes where the engine has none of its layers, so ``settings.say`` tells the user.

        Raises:
            HostError: an image cannot be built.
        """
        name = f"images-{os.getpid()}"
        record = Record(name, DockerHost.name, mta, f"popbox-{name}", Process.of(os.getpid()))
        with closing(client(settings.environ)) as engine:
            return _built(engine, settings, record)[0]

    def _bring_up(self) -> None:
        tag, base = _built(self._engine, self._settings, self._record)
        if others := strangers(self._engine, self._record.place, self._record.id):
            raise HostError(f"the compose project {self._record.place} is not ours: it has {', '.join(others)}")
        self._stack.write(tag, base, self._reached_at)
        self._warm = {service: self._warm_in(service, more=True) for service in INNER_PORT}
        deadline = time.monotonic() + UP_S
        try:
            self._stack.must("up", "--detach", "--no-build", "--quiet-pull", within_s=UP_S)
        except HostError as error:
            raise HostError(error.what, f"{error.log}\n{self._all_logs()}") from error
        self._record = replace(self._record, up=True)
        self._registry.save(self._record)
        for service in INNER_PORT:
            wait_ready(self, service, deadline)

    def _all_logs(self) -> str:
        return tail(self._stack.command("logs", "--no-color", within_s=EXEC_S).stdout.decode(errors="replace"))

    def _compose_service(self, service: Service) -> str:
        return "pop3" if service == "pop3" else self._stack.smtp

    def _container(self, service: Service) -> Container:
        """As the engine has it now. A service of a deployment may have another one than before."""
        if known := self._ids.get(service):
            with suppress(NotFound):
                return self._engine.containers.get(known)
        labels = [
            f"{PROJECT_LABEL}={self._record.place}",
            f"com.docker.compose.service={self._compose_service(service)}",
            "com.docker.compose.oneoff=False",  # not what others run from an image: that has the other two as well
        ]
        found = containers(self._engine, {"label": labels})
        if not found:
            raise HostError(f"{service} on {self.describe()}: there is no container")
        self._ids[service] = found[0].id or ""
        return found[0]

    def address(self, service: Service) -> Address:
        """See Host."""
        ports = self._container(service).attrs["NetworkSettings"]["Ports"].get(f"{INNER_PORT[service]}/tcp")
        if not ports:
            raise ConnectionFailed(
                f"{service} on {self.describe()} has no port: {self.alive(service) or 'its container is on no network'}"
            )
        at = ports[0]["HostIp"]
        return Address(self._reached_at if at in EVERYWHERE else at, int(ports[0]["HostPort"]))

    @cached_property
    def _reached_at(self) -> str:
        return reached_at(self._settings.environ)

    def _inside(self, service: Service, *argv: str) -> list[str]:
        """The command line that runs ``argv`` in a container. `docker compose exec` takes twice the time of this."""
        return ["docker", "exec", "--interactive", self._container(service).id or "", *argv]

    def _exec(self, service: Service, *argv: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return run_bounded(self._inside(service, *argv), within_s=EXEC_S, env=self._stack.environ, stdin=stdin)

    def _exec_must(self, service: Service, *argv: str, stdin: bytes = b"") -> bytes:
        done = self._exec(service, *argv, stdin=stdin)
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise HostError(f"{argv[0]} in {service} on {self.describe()} ended with {done.returncode}: {said}")
        return done.stdout

    def _warm_in(self, service: Service, more: bool = False) -> Warm:
        return Warm(lambda: self._inside(service, "mailhost"), env=self._stack.environ, more=more)

    def run(self, *argv: str, stdin: bytes = b"") -> Ran:
        """See Host."""
        return Ran.of(argv, *self._mailhost("smtp", list(argv), stdin))

    def _mailhost(self, service: Service, argv: list[str], stdin: bytes) -> tuple[int, bytes, bytes]:
        """``mailhost ARGV`` in the container of a service."""
        if self._container(service).status == "running":  # a frozen one would not answer, an ended one cannot
            with suppress(Cold):
                return self._warm[service].run(argv, stdin, EXEC_S)
        done = self._exec(service, "mailhost", *argv, stdin=stdin)
        return done.returncode, done.stdout, done.stderr

    def find(self, maildir: str, needle: str) -> list[Found]:
        """See Host."""
        found = self._find((f"{maildir}/new", f"{maildir}/cur"), (needle,))
        below = [
            replace(one, entry=replace(one.entry, path=one.entry.path.removeprefix(f"{maildir}/"))) for one in found
        ]
        return [one for one in below if one.readable or not needle]

    def search(self, needles: tuple[str, ...]) -> list[Found]:
        """See Host."""
        return self._find(("popboxes",), needles)

    def _find(self, folders: tuple[str, ...], needles: tuple[str, ...], side: Service = "pop3") -> list[Found]:
        status, out, err = self._mailhost(side, ["find", *folders], "".join(needles).encode())
        if status:
            raise HostError(
                f"looking for mail on {self.describe()} ended with {status}: {err.decode(errors='replace')}"
            )
        lines = map(json.loads, out.splitlines())
        return [Found(DirEntry(*entry), base64.b64decode(octets), readable) for entry, octets, readable in lines]

    def read(self, path: str) -> bytes:
        """See Host. By the warm Python where it can, which takes a tenth of the time of a program in a container."""
        with suppress(HostError):  # `cat` says what is wrong
            for one in self._find((path,), (), self._side(path)):
                if one.entry.path == path and one.readable:
                    return one.octets
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
        if ability is Ability.SYSLOG:
            return "its containers have no root that could put a /dev/log there"
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

    def shell(self, script: str) -> Ran:
        """See Host: in the container that may write users/, control/ and alias/."""
        done = self._exec("smtp", "sh", "-s", stdin=script.encode())
        return Ran.of(("sh",), done.returncode, done.stdout, done.stderr)

    def chain(self, timeout_s: float, runs: tuple[str, ...] = CHAIN, syslog: bool = False) -> Wire:
        """See Host."""
        if syslog:
            raise HostError(self.cannot(Ability.SYSLOG))
        programs = ["popup", "mail.popbox.invalid", *runs]
        peer = f"the chain on {self.describe()}"
        return converse(self._inside("pop3", *programs), peer, timeout_s, env=self._stack.environ)

    def kill(self, service: Service) -> None:
        """See Host."""
        self._container(service).kill()  # the engine restarts no container that was killed by hand

    def beside(self, *argv: str) -> Command:
        """See Host. A container of its own: in a frozen or stopped one nothing can be run."""
        smtp = self._container("smtp")
        run = ["docker", "run", "--rm", "--interactive", "--network", "none", "--volumes-from", smtp.id or ""]
        run += ["--label", self._label, *OF_NO_PROJECT, "--user", "0:0", "--entrypoint", "python3"]
        run += [smtp.attrs["Image"], *argv]
        return Command(run, self._stack.environ)

    def alive(self, service: Service) -> str:
        """See Host."""
        state = self._container(service).attrs["State"]
        if state["Running"] and not state["Restarting"]:
            return ""
        if state["Status"] == "created":
            return ""  # compose starts it in a moment
        memory = " (out of memory)" if state["OOMKilled"] else ""
        return f"its container is {state['Status']}, exit code {state['ExitCode']}{memory}"

    def pid(self, service: Service) -> int:
        """See Host. On another machine, or in a virtual machine, that number is a process of its own."""
        container = self._container(service)
        pid = int(container.attrs["State"]["Pid"])
        try:
            ours = (container.id or "?") in Path(f"/proc/{pid}/cgroup").read_text("utf-8", "replace")
        except OSError:
            return 0
        return pid if ours else 0

    def log(self, service: Service) -> str:
        """See Host."""
        octets: bytes = self._container(service).logs()
        return octets.decode(errors="replace")

    def log_end(self, service: Service, octets: int) -> str:
        """See Host. An engine counts lines."""
        logged: bytes = self._container(service).logs(tail=octets // LINE_OCTETS)
        return whole_lines(logged[-octets:], cut=len(logged) > octets)

    def follow(self, service: Service, position: str = "") -> ContainerFollower:
        """See Host."""
        return ContainerFollower(lambda: self._container(service).id or "", self._stack.environ, position)

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
            for warm in self._warm.values():
                warm.close()
            kill_marked(self._record.id)  # of a popbox that was killed `docker compose up` may still go on
            left = remove(self._engine, self._record.id, cut_short=not self._record.up)
            self._stack.labels_path.unlink(missing_ok=True)
            self._registry.forget(self._record)
            self._engine.close()  # the library keeps a connection for each address that it has asked
        if left:
            raise HostError(f"of {self._record.place} something is in use by others, and stays: {', '.join(left)}")


def _built(engine: docker.DockerClient, settings: Settings, record: Record) -> tuple[str, str]:
    """The tag of the images that ``record``'s host runs on, which are built where they are not here, and qmail's base.

    Raises:
        HostError: an image cannot be built.
    """
    stack = Stack(settings, record)
    base = qmail_base(engine, settings) if record.mta == "qmail" else ""
    tag = images.tag(engine, settings.assets, base, settings.environ)
    wanted = [f"popbox/{service}:{tag}" for service in (stack.smtp, "pop3")]
    if images.here(engine, wanted):
        return tag, base
    began = time.monotonic()
    settings.say(f"building the images popbox/{stack.smtp} and popbox/pop3, {tag}: a first time takes minutes")
    stack.write(tag, base, HERE)
    try:
        stack.must("build", "--quiet", within_s=BUILD_S)
    finally:
        stack.labels_path.unlink(missing_ok=True)
    settings.say(f"built in {time.monotonic() - began:.0f} s")
    images.here(engine, wanted)
    images.sweep(engine)
    return tag, base
