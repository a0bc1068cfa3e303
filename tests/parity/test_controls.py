"""Control files: qmail-smtpd's answers to RCPT, and what qmail-send makes of recipients, against ours."""

from __future__ import annotations

import os
import pwd
import random
import subprocess
from multiprocessing.connection import wait

from tests.parity.real import HOME, MARKS, privately

from mailhost.qmail.control import BAD_SENDER, Reader, accepts, badmailfrom, load
from mailhost.qmail.rewrite import Local, rewrite

pytestmark = MARKS

LISTS = 120
REWRITINGS = 80
ADDRESSES = 50

HOSTS = ("d.com", "D.com", "x.d.com", "y.x.d.com", ".d.com", "e.org", "e.org.", "", "d.com\r", " lead.org", "com",
         "x..com", "é.org", "hack", "[]", ".", "..d.com")  # fmt: skip
USERS = ("joe", "Joe", "", "a%b", "a%d.com", "a@b", "a%x@d.com", "a%e.org%hack", "%", "x" * 200)
BLANKS = ("", "", "", " ", "\t ", "\r")


def address(chance: random.Random) -> bytes:
    host = chance.choice(HOSTS)
    return (chance.choice(USERS) + chance.choice(("@", "@", "@", "@", "@", "")) + host).encode()


def lines(chance: random.Random, words: list[str]) -> bytes:
    """A list file with the usual irregularities."""
    rows = [chance.choice(("", "", "", "", "#", " ")) + word + chance.choice(BLANKS) for word in words]
    return "\n".join(rows).encode() + chance.choice((b"", b"\n"))


def write(name: str, content: bytes | None) -> None:
    path = HOME / "control" / name
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)


def domains(chance: random.Random) -> list[str]:
    return chance.choices([host for host in HOSTS if host] + [".com", ".", "a\0d.com"], k=chance.randrange(0, 7))


# ----- qmail-smtpd


def smtpd(sender: bytes, rcpts: list[bytes], relayclient: bytes | None) -> list[bytes]:
    """The reply to each RCPT in one session."""
    environment = {} if relayclient is None else {"RELAYCLIENT": os.fsdecode(relayclient)}
    said = b"MAIL FROM:<" + sender + b">\r\n" + b"".join(b"RCPT TO:<" + rcpt + b">\r\n" for rcpt in rcpts) + b"QUIT\r\n"
    done = subprocess.run(
        [HOME / "bin/qmail-smtpd"], input=said, capture_output=True, check=False, env=environment, timeout=30
    )
    return done.stdout.split(b"\r\n")[2:-2]


def compare_smtpd() -> tuple[int, list[str]]:
    chance = random.Random(821)
    accepted, differences = 0, []
    write("me", b"here.net\n")
    for _ in range(LISTS):
        write("rcpthosts", chance.choice((None, *[lines(chance, domains(chance))] * 7)))
        barred = ["s@X.org", "@bad.org", "s@y", "x-@[]", "@[]"]
        write("badmailfrom", chance.choice((None, lines(chance, barred), lines(chance, ["s@y\0", "\0", "a\0\0@[]"]))))
        write("morercpthosts", lines(chance, domains(chance)))
        subprocess.run([HOME / "bin/qmail-newmrh"], check=True)
        if chance.random() < 0.3:
            write("morercpthosts.cdb", None)
        relayclient = chance.choice((None, None, None, None, b"", b"@fix"))
        senders = (b"s@x.org", b"S@X.ORG", b"any@bad.org", b"any@sub.bad.org", b"", b"", b"s@y", b"x-@[]", b"-@[]")
        sender = chance.choice(senders)
        # No leading @: RCPT takes that for a source route (Q-ADDR-4).
        rcpts = [address(chance).replace(b"\r", b"").lstrip(b"@") for _ in range(ADDRESSES)]
        controls = load(HOME, Reader.SMTPD)
        for rcpt, truth in zip(rcpts, smtpd(sender, rcpts, relayclient), strict=True):
            decision = accepts(controls, rcpt, relayclient)
            answer = b"250 ok" if decision.accepted else decision.reply
            if badmailfrom(controls, sender):
                answer = BAD_SENDER
            accepted += truth == b"250 ok"
            if answer != truth:
                differences.append(f"{sender!r} {rcpt!r} {relayclient!r} {controls}\n  real {truth!r} ours {answer!r}")
    return accepted, differences


def test_q_rcpt_every_answer_is_qmail_smtpds() -> None:
    accepted, differences = privately(compare_smtpd)
    print(f"{LISTS * ADDRESSES:,} RCPT decisions compared with qmail-smtpd, {accepted:,} accepted")
    assert not differences, f"{len(differences)} differ:\n" + "\n".join(differences[:4])
    assert LISTS * ADDRESSES * 0.1 < accepted < LISTS * ADDRESSES * 0.9


# ----- qmail-send


def enqueue(rcpts: list[bytes]) -> None:
    envelope, feed = os.pipe()
    queue = subprocess.Popen([HOME / "bin/qmail-queue"], stdin=subprocess.PIPE, stdout=envelope)
    os.close(envelope)
    assert queue.stdin is not None
    queue.stdin.write(b"\n")
    queue.stdin.close()
    with os.fdopen(feed, "wb") as pipe:
        pipe.write(b"Fs@x.org\0" + b"".join(b"T" + rcpt + b"\0" for rcpt in rcpts) + b"\0")
    assert queue.wait(10) == 0


class Channel:
    """Acts as qmail-lspawn or qmail-rspawn: takes jobs and reports each as done."""

    def __init__(self) -> None:
        self.jobs, self.from_send = os.pipe()
        self.to_send, self.reports = os.pipe()
        self.rest = b""
        os.write(self.reports, b"\x78")

    def take(self) -> list[bytes]:
        """The addresses of the jobs so far."""
        self.rest += os.read(self.jobs, 65536)
        found = []
        while self.rest[1:].count(b"\0") >= 3:
            _id, _sender, recipient, rest = self.rest[1:].split(b"\0", 3)
            os.write(self.reports, self.rest[:1] + b"K\0")
            found.append(recipient)
            self.rest = rest
        return found


def _become_send(wanted: list[int]) -> None:
    """In a child: descriptors 0 to 6 as qmail-start gives them, the user, the program."""
    for place, fd in enumerate(wanted):
        os.dup2(fd, 100 + place)
    for place in range(len(wanted)):
        os.dup2(100 + place, place)
    os.closerange(len(wanted), 200)
    os.setgid(pwd.getpwnam("qmails").pw_gid)
    os.setuid(pwd.getpwnam("qmails").pw_uid)
    os.execv(HOME / "bin/qmail-send", ["qmail-send"])  # noqa: S606


def send(count: int) -> tuple[list[bytes], list[bytes]]:
    """(local, remote) addresses that a real qmail-send gives to its two spawners."""
    local, remote = Channel(), Channel()
    clean_in, to_clean = os.pipe()
    from_clean, clean_out = os.pipe()
    clean = subprocess.Popen([HOME / "bin/qmail-clean"], stdin=clean_in, stdout=clean_out, user="qmailq", cwd=HOME)
    log = os.open("/dev/null", os.O_RDWR)
    wanted = [log, local.from_send, local.to_send, remote.from_send, remote.to_send, to_clean, from_clean]
    program = os.fork()
    if program == 0:
        _become_send(wanted)
    for fd in (*wanted, clean_in, clean_out):
        os.close(fd)
    found: dict[Channel, list[bytes]] = {local: [], remote: []}
    while sum(map(len, found.values())) < count:
        ready = wait([local.jobs, remote.jobs], 20)  # select(2) knows no descriptor over 1023
        assert ready, "qmail-send says nothing"
        for channel in (local, remote):
            if channel.jobs in ready:
                found[channel] += channel.take()
    os.kill(program, 15)
    os.waitpid(program, 0)
    clean.wait(10)
    for channel in (local, remote):
        os.close(channel.jobs)
        os.close(channel.reports)
    return found[local], found[remote]


def compare_send() -> tuple[dict[str, int], list[str]]:
    chance = random.Random(976)
    counts = {"local": 0, "virtual": 0, "remote": 0}
    differences = []
    write("me", b"here.net\n")
    write("concurrencylocal", b"120\n")
    write("concurrencyremote", b"120\n")
    for _ in range(REWRITINGS):
        values = ("p", "", "P-q", " p", "a:b", "p\r")
        keys = [*domains(chance), *chance.sample(("joe@d.com", "Joe@e.org", "", "joe@", "a@b@d.com"), 2)]
        write("virtualdomains", lines(chance, [f"{key}:{chance.choice(values)}" for key in keys] + ["no colon"]))
        write("locals", chance.choice((None, lines(chance, domains(chance)[:2]))))
        write("percenthack", chance.choice((None, b"hack\nd.com\n")))
        envnoathost = chance.choice((None, b"e.org\n", b"\n", b"a@hack\n", b"d.com\0x\n", b"\0\n", b".d.com\n"))
        write("envnoathost", envnoathost)
        rcpts = [address(chance) for _ in range(ADDRESSES)]
        if envnoathost is not None and b"\0" in envnoathost:
            rcpts = [b"joe"]  # what follows the NUL is a record of no known type, and the rest of the channel waits
        enqueue(rcpts)
        local, remote = send(len(rcpts))
        controls = load(HOME, Reader.SEND)
        ways = [rewrite(controls, rcpt) for rcpt in rcpts]
        for way in ways:
            kind = "remote" if not isinstance(way, Local) else "local" if way.prefix is None else "virtual"
            counts[kind] += 1
        ours = tuple(
            sorted(way.address for way in ways if isinstance(way, Local) is wanted) for wanted in (True, False)
        )
        if ours != (sorted(local), sorted(remote)):
            wrong = [set(a) ^ set(b) for a, b in zip(ours, (local, remote), strict=True)]
            differences.append(f"{controls}\n  {wrong}")
    return counts, differences


def test_q_send_q_vdom_every_recipient_is_rewritten_as_qmail_send_does() -> None:
    counts, differences = privately(compare_send)
    print(f"{REWRITINGS * ADDRESSES:,} recipients compared with qmail-send: {counts}")
    assert not differences, f"{len(differences)} differ:\n" + "\n".join(differences[:3])
    assert min(counts.values()) > 80
