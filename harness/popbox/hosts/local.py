"""The mail host as child processes of this one, in a temporary directory, on ephemeral loopback ports."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from popbox.clients.wire import Address, Wire
from popbox.environment import NOTHING, of_programs
from popbox.errors import ConnectionFailed, HostError
from popbox.hosts import disk
from popbox.hosts import syslog as collector
from popbox.hosts.base import CHAIN, POPUSER_UID, Ability, Command, Ran, Service, tail
from popbox.hosts.following import FileFollower, end_of
from popbox.hosts.local_files import LocalFiles, loopback, remove_tree, scratch
from popbox.hosts.process import converse, end_as_interrupted, run_bounded, undisturbed
from popbox.hosts.readiness import wait_for, wait_ready, wait_until
from popbox.hosts.state import Process, Record, Registry, keep, kill_marked
from popbox.hosts.warm import Warm, join, leave
from popbox.scenario.names import Disk

PYTHON = [sys.executable, "-P"]  # no module is taken from the directory that the caller happens to be in
COMMAND_S = 60.0  # our choice: a provisioning command on a small tree takes well under a second
START_S = 60.0  # our choice: two seconds when idle; a daemon that has ended is noticed at once, so it costs nothing
LOOK_S = 0.03  # our choice: a look at a starting daemon costs 0.1 ms; a tenth of its start
STOP_S = 5.0  # our choice: how long a daemon may drain before it is killed
DAEMONS: dict[Service, tuple[str, ...]] = {
    "smtp": ("serve", "standin"),
    "pop3": ("serve", "pop3", "--log-messages"),
}
EVERYWHERE = ("0.0.0.0", "127.0.0.1")  # what listens there is reached from here  # noqa: S104 - not bound
LISTENING = re.compile(r"^listening \S+ (\S+):(\d+)$", re.MULTILINE)


class LocalHost(LocalFiles):
    """Stand-in MTA and POP3 server as children. Use ``start``; see ``hosts.base.Host`` for the methods."""

    name, mta = "local", "stand-in"

    def __init__(self, registry: Registry, record: Record, environ: Mapping[str, str] = NOTHING) -> None:
        """Take over the directory named by ``record``; starts nothing. ``environ``: what children may have of it."""
        self._registry, self._record = registry, record
        self._root = Path(record.place)
        self._children: dict[Service, subprocess.Popen[bytes]] = {}
        self._no_disk = "this host was started without a disk of its own"
        self._environ, self._listen = of_programs(environ, record.id), dict[Service, str]()
        self._ended: set[Service] = set()  # by us, on purpose
        self._warm = Warm([*PYTHON, "-m", "mailhost"], env=self._environ)
        self.uid = POPUSER_UID if os.geteuid() == 0 else os.geteuid()

    @classmethod
    def start(
        cls,
        registry: Registry,
        within_s: float = START_S,
        *,
        own_disk: bool = False,
        environ: Mapping[str, str] = NOTHING,
        listen: Mapping[Service, str] | None = None,
    ) -> LocalHost:
        """Make the directory tree, start both daemons, wait for their greetings.

        ``own_disk``: queue and popboxes on small file systems; where they cannot be mounted, ``cannot`` says why.
        ``listen``: where each service listens; by default on loopback, at a free port.

        Raises:
            HostError: the host did not start; nothing of it is left behind.
        """
        end_as_interrupted()
        host = None
        try:
            with undisturbed():  # the record first: what it names is found again, whatever happens to us
                host = cls(registry, registry.new(cls.name, cls.mta, below=f"{scratch()}/"), environ)
                host._listen = dict(listen or {})
            host._bring_up(time.monotonic() + within_s, own_disk)
        except BaseException:
            if host:
                host.close()
            raise
        return host

    def _bring_up(self, deadline: float, own_disk: bool) -> None:
        for path in (self._root, Path(self.home())):
            path.mkdir(0o700)
            path.chmod(0o755)  # popuser must pass through when we are root, whatever the umask
        self._check_way()
        (self._root / "log").mkdir()
        if own_disk:
            self._no_disk = self._mount()
        self._warm = join(
            self._record.id, [*PYTHON, "-m", "mailhost"], of_programs(self._environ, self._record.owner.mark)
        )
        made = self.run("init", "--me", "mail.popbox.invalid")
        if made.code:
            raise HostError(f"mailhost init ended with {made.code}", tail(made.stderr))
        for service in DAEMONS:
            with undisturbed():
                self._spawn(service)
        for service in DAEMONS:
            self._wait(service, deadline)

    def _mount(self) -> str:
        """Make queue/ and popboxes/ small file systems; why they cannot be mounted, or empty."""
        for path in self._disks():
            path.mkdir()
            with undisturbed():
                done = run_bounded(disk.mount(str(path)), within_s=COMMAND_S, env=self._environ)
            if done.returncode:
                return f"no small file system can be mounted here: {done.stderr.decode(errors='replace').strip()}"
        return ""

    def _disks(self) -> list[Path]:
        return [Path(self.home(), one) for one in disk.DISKS]

    def _wait(self, service: Service, deadline: float) -> None:
        wait_for(
            lambda: "" if LISTENING.search(self._said(service)) else "it has not said where it listens",
            lambda: self.alive(service),
            deadline,
            what=f"{service} on {self.describe()}",
            log=lambda: self.log(service),
            longest_s=LOOK_S,
        )
        wait_ready(self, service, deadline, LOOK_S)

    def _check_way(self) -> None:
        """As root, the daemons become popuser, which must get through to the home (Q-PERM-6)."""
        if closed := _closed_to_popuser(self._root):
            raise HostError(f"uid {POPUSER_UID} cannot pass {closed}: set TMPDIR to a directory that others may enter")

    def _spawn(self, service: Service) -> None:
        now = self._registry.now(self._record)  # another popbox may have started the other service again, or kept it
        with (self._root / "log" / f"{service}.out").open("wb") as out, self._log_path(service).open("ab") as log:
            child = subprocess.Popen(
                self._argv(*DAEMONS[service], "--listen", self._listen.get(service) or f"{loopback()}:0"),
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                start_new_session=True,
            )
        self._children[service] = child
        self._ended.discard(service)
        self._record = replace(now, processes={**now.processes, service: Process.of(child.pid)})
        self._registry.save(self._record)

    def _argv(self, *argv: str) -> list[str]:
        return [*PYTHON, "-m", "mailhost", "--home", self.home(), *argv]

    def _log_path(self, service: Service) -> Path:
        return self._root / "log" / f"{service}.log"

    def _said(self, service: Service) -> str:
        try:
            return (self._root / "log" / f"{service}.out").read_text("utf-8")
        except FileNotFoundError:  # its popbox was killed before
            return ""

    def address(self, service: Service) -> Address:
        """See Host."""
        found = LISTENING.search(self._said(service))
        if not found:
            raise ConnectionFailed(f"{service} on {self.describe()} has no port: {self.alive(service) or 'it runs'}")
        return Address(found.group(1).strip("[]").replace(*EVERYWHERE), int(found.group(2)))

    def run(self, *argv: str, stdin: bytes = b"") -> Ran:
        """See Host."""
        return Ran.of(argv, *self._warm.run_anyway(["--home", self.home(), *argv], stdin, COMMAND_S))

    def stop(self, service: Service) -> None:
        """See Host."""
        self._end(service, signal.SIGTERM, time.monotonic() + STOP_S)

    def restart(self, service: Service, deadline: float) -> None:
        """See Host."""
        if not self.alive(service):
            self.stop(service)
        with undisturbed():
            self._spawn(service)
        self._wait(service, deadline)

    def pause(self, service: Service, on: bool) -> None:
        """See Host."""
        process = self._process(service)
        process.signal_group(signal.SIGSTOP if on else signal.SIGCONT)
        if on:
            wait_until(lambda: process.stopped() or not process.lives(), time.monotonic() + STOP_S)
            if not process.stopped():
                raise HostError(self.alive(service) or f"{service} was sent SIGSTOP and runs on")

    def cut(self, service: Service, on: bool) -> None:
        """See Host."""
        raise HostError(self.cannot(Ability.PARTITION))

    def fill(self, disk_: Disk, on: bool) -> None:
        """See Host."""
        path = Path(self.home(), disk_)
        if on:
            self._must([sys.executable, "-c", disk.FILL, str(path)])
        else:
            self.remove(f"{disk_}/{disk.FILLER}")

    def read_only(self, disk_: Disk, on: bool) -> None:
        """See Host."""
        self._must(disk.remount(f"{self.home()}/{disk_}", on))

    def _must(self, argv: list[str]) -> str:
        done = run_bounded(argv, within_s=COMMAND_S, env=self._environ)
        if done.returncode:
            raise HostError(f"{argv[0]} on {self.describe()}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode(errors="replace")

    def cannot(self, ability: Ability) -> str:
        """See Host."""
        if ability is Ability.OWN_DISK:
            return self._no_disk
        if ability is Ability.PARTITION:
            return "host local cannot be cut off: its services are on this machine's loopback interface"
        if ability is Ability.SYSLOG:
            return collector.cannot(self._environ)
        return self._no_chain() if ability is Ability.CHAIN else ""

    def ailments(self) -> list[str]:
        """See Host."""
        ill = [f"{service}: {how}" for service in DAEMONS if (how := self.alive(service) or self._frozen(service))]
        disks = self._must([sys.executable, "-c", disk.EXAMINE, *map(str, self._disks())])
        return [*ill, *disks.splitlines()]

    def _frozen(self, service: Service) -> str:
        return "its process is stopped (SIGSTOP) and does not answer" if self._process(service).stopped() else ""

    def hup(self) -> None:
        """See Host."""
        os.kill(self._process("smtp").pid, signal.SIGHUP)

    def _no_chain(self) -> str:
        closed = _closed_to_popuser(Path(sys.executable).resolve()) or _closed_to_popuser(Path(__file__))
        return f"uid {POPUSER_UID} cannot pass {closed}, so checkpoppasswd could run no program" if closed else ""

    def chain(self, timeout_s: float, runs: tuple[str, ...] = CHAIN, syslog: bool = False) -> Wire:
        """See Host."""
        python = [*PYTHON, "-m"]
        own = {
            "checkpoppasswd": [
                *python,
                "mailhost.pop3.chain.checkpoppasswd",
                "--file",
                f"{self.home()}/users/poppasswd",
            ],
            "pop3d": [*python, "mailhost.pop3.chain.pop3d"],
        }
        chain = [
            *python,
            "mailhost.pop3.chain.popup",
            "mail.popbox.invalid",
            *(w for word in runs for w in own.get(word, [word])),
        ]
        if syslog:
            collect = [sys.executable, "-c", collector.PROGRAM, str(self._root / "dev")]
            chain = [*collector.UNSHARE, *collect, *chain]
        return converse(chain, f"the chain on {self.describe()}", timeout_s, env=self._environ)

    def shell(self, script: str) -> Ran:
        """See Host."""
        path = f"{Path(sys.executable).parent}:{self._environ['PATH']}"
        environ = {**self._environ, "PATH": path, "MAILHOST_HOME": self.home()}
        done = run_bounded(["sh", "-s"], within_s=COMMAND_S, env=environ, stdin=script.encode())
        return Ran.of(("sh",), done.returncode, done.stdout, done.stderr)

    def kill(self, service: Service) -> None:
        """See Host."""
        self._end(service, signal.SIGKILL, time.monotonic() + STOP_S)

    def _end(self, service: Service, number: signal.Signals, deadline: float) -> None:
        """Signal a service and wait until it has ended; what outlives the deadline is killed."""
        self._ended.add(service)
        process = self._process(service)
        process.signal_group(number)
        while process.lives() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.signal_group(signal.SIGKILL)
        if child := self._children.get(service):
            child.wait()
        while process.group_lives() and time.monotonic() < deadline:
            time.sleep(0.01)  # a worker that is still dying holds the listening socket

    def beside(self, *argv: str) -> Command:
        """See Host."""
        return Command([*PYTHON, *argv], self._environ)

    def alive(self, service: Service) -> str:
        """See Host."""
        child = self._children.get(service)
        code = child.poll() if child else None
        if code is not None:
            return (
                f"its process was killed by signal {-code}" if code < 0 else f"its process ended with exit code {code}"
            )
        return "" if self._process(service).lives() else "its process is gone"

    def _process(self, service: Service) -> Process:
        """The service's process. Of a kept host another popbox may have started it again."""
        known = self._record.processes.get(service)
        if not known or not known.lives():
            self._record = self._registry.now(self._record)
        if service not in self._record.processes:
            raise HostError(f"{service} on {self.describe()} was never started")
        return self._record.processes[service]

    def died(self) -> str:
        """Which service has ended by itself, and how; empty where none has."""
        ended = ((service, self.alive(service)) for service in DAEMONS if service not in self._ended)
        return next((f"{service}: {how}" for service, how in ended if how), "")

    def pid(self, service: Service) -> int:
        """See Host."""
        process = self._process(service)
        return process.pid if process.lives() and process.seen_from_here() else 0

    def log(self, service: Service) -> str:
        """See Host."""
        path = self._log_path(service)
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def log_end(self, service: Service, octets: int) -> str:
        """See Host."""
        return end_of(self._log_path(service), octets)

    def follow(self, service: Service, position: str = "") -> FileFollower:
        """See Host."""
        return FileFollower(self._log_path(service), position)

    def home(self) -> str:
        """See Host."""
        return str(self._root / "home")

    def describe(self) -> str:
        """See Host."""
        return f"host {self.name}, MTA {self.mta}"

    def by_hand(self) -> str:
        """See Host."""
        return f"{Path(sys.executable).parent / 'mailhost'} --home {self.home()}"

    def keep(self) -> None:
        """Let the host outlive this process; ``popbox down`` removes it."""
        keep(self._registry, self._record)

    def close(self) -> None:
        """See Host. What another popbox has started since ends in order, too."""
        with suppress(HostError):  # a record that cannot be read any more: then by what we know
            self._record = self._registry.now(self._record)
        for process in self._record.processes.values():
            if not process.seen_from_here():  # here its pid is another process's
                machine = process.where.partition(" ")[0]
                raise HostError(f"{self.describe()} runs on {machine}: `popbox down` there takes it away")
        with undisturbed():
            self._take_away()

    def _take_away(self) -> None:
        leave(self._record.id, self._warm)
        for process in self._record.processes.values():
            process.signal_group(signal.SIGTERM)
            process.signal_group(signal.SIGCONT)  # a frozen one gets TERM only then
        deadline = time.monotonic() + STOP_S
        for service in DAEMONS.keys() & self._record.processes.keys():
            self._end(service, signal.SIGTERM, deadline)
        for path in filter(os.path.ismount, self._disks()):
            run_bounded(["umount", "--lazy", str(path)], within_s=COMMAND_S, env=self._environ)
        kill_marked(self._record.id)
        if not self._record.owner.lives():  # a command of the killed one, in a shared mailhost, would go on writing
            kill_marked(self._record.owner.mark)
        if self._is_ours():
            remove_tree(self._root)
        self._registry.forget(self._record)

    def _is_ours(self) -> bool:
        """Whether the directory is one that we made for this record, and no other that a record names."""
        try:
            found = self._root.lstat()
        except FileNotFoundError:
            return False
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
        return ours and self._root.name == f"popbox-{self._record.id}"


def _closed_to_popuser(path: Path) -> Path | None:
    """As root: the outermost directory above ``path`` that others may not enter, if any."""
    closed = [parent for parent in path.parents if not parent.stat().st_mode & 0o001]
    return closed[-1] if closed and os.geteuid() == 0 else None
