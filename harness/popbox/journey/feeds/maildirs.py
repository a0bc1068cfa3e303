"""Looking into Maildirs on the mail host, by one small program that stays there: only boxes that a delivery names."""

from __future__ import annotations

import base64
import inspect
import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from popbox.clients.ready import comes
from popbox.errors import HostError
from popbox.hosts.base import Host
from popbox.hosts.process import undisturbed
from popbox.journey.feeds import on_host

ANSWER_S = 30.0  # our choice: a container starts in one, and a box of 100,000 messages is listed in one


@dataclass(frozen=True, slots=True)
class MaildirFile:
    """A message file. ``top`` is its first three lines, ``box`` its Maildir below the home, ``name`` the base."""

    box: str
    path: str
    name: str
    size: int
    uid: int
    at: float
    mode: int
    top: tuple[str, str, str]
    subject: str
    message_id: str
    author: str = ""


class Numbered(NamedTuple):
    """A message as POP3 shows it; ``octets`` as RETR sends them, None where that was not counted."""

    number: int
    folder: str
    name: str
    size: int
    octets: int | None
    uid: int
    mode: int
    subject: str

    @property
    def uidl(self) -> str:
        """Q-POP3-9."""
        return self.name.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Look:
    """What one look gave; ``faults`` says of a Maildir why it could not be looked at."""

    files: tuple[MaildirFile, ...]
    faults: Mapping[str, str]


class Maildirs:
    """The program on one host, started when it is first asked."""

    def __init__(self, host: Host) -> None:
        """``host`` runs the program beside its services."""
        self._host = host
        self._child: subprocess.Popen[bytes] | None = None
        self._known: list[tuple[str, str]] = []

    def known(self, box: str, name: str) -> None:
        """That file needs no second look while its box is looked into."""
        self._known.append((box, name))

    def look(self, boxes: Mapping[str, float]) -> Look:
        """Files in these Maildirs that changed since the time given for each.

        Raises:
            HostError: the host shows no files, or the program ended or did not answer.
        """
        answer = self._ask({"boxes": boxes, "known": self._known})
        self._known.clear()
        return Look(tuple(_files(answer["files"])), answer["faults"])

    def read(self, box: str, name: str) -> bytes:
        """A message's octets, wherever in its box it lies now and whatever its flags.

        Raises:
            LookupError: there is no such file any more, or it cannot be handed over; says why.
            HostError: the host shows no files, or the program ended or did not answer.
        """
        answer = self._ask({"read": [box, name]})
        if "octets" not in answer:
            raise LookupError(answer["why"])
        return base64.b64decode(answer["octets"])

    def own(self, path: str) -> bytes:
        """A file below popboxes/ or alias/, which popuser may have put there: no link is followed.

        Raises:
            LookupError: it cannot be handed over; says why.
            HostError: the host shows no files, or the program ended or did not answer.
        """
        answer = self._ask({"own": path})
        if "octets" not in answer:
            raise LookupError(answer["why"])
        return base64.b64decode(answer["octets"])

    def hashes(self, files: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Of each message, given by Maildir and name: its sha256 in hex and empty, or empty and why there is none.

        Raises:
            HostError: the host shows no files, or the program ended or did not answer.
        """
        answers = self._ask({"hash": files}) if files else []
        return [(one.get("sha256", ""), one.get("why", "")) for one in answers]

    def page(self, box: str, first: int, most: int) -> tuple[int, list[Numbered]]:
        """How many messages a Maildir has, and those from a number on, as POP3 numbers them.

        Raises:
            LookupError: it cannot be listed; says why.
            HostError: the host shows no files, or the program ended or did not answer.
        """
        answer = self._ask({"page": [box, first, most]})
        if "rows" not in answer:
            raise LookupError(answer["why"])
        return answer["total"], [Numbered(*row) for row in answer["rows"]]

    def _ask(self, what: Mapping[str, Any]) -> Any:
        child = self._child or self._start()
        assert child.stdin is not None
        try:
            child.stdin.write(json.dumps(what).encode() + b"\n")
            child.stdin.flush()
            return json.loads(self._line(child))
        except (OSError, ValueError) as error:
            self.close()
            raise HostError(f"the look into Maildirs on {self._host.describe()} ended: {error}") from error

    def close(self) -> None:
        """End the program."""
        if self._child:
            self._child.kill()
            self._child.communicate()
        self._child = None

    def _start(self) -> subprocess.Popen[bytes]:
        command = self._host.beside("-c", inspect.getsource(on_host), self._host.home())
        with undisturbed():
            self._child = subprocess.Popen(
                command.argv,
                env=dict(command.env),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        return self._child

    @staticmethod
    def _line(child: subprocess.Popen[bytes]) -> bytes:
        assert child.stdout is not None
        if not comes(child.stdout.fileno(), ANSWER_S):
            raise OSError(f"no answer within {ANSWER_S:.0f} s")
        return child.stdout.readline()


def _files(rows: Iterable[list[Any]]) -> Iterable[MaildirFile]:
    for box, path, name, size, uid, at, mode, texts in rows:
        first, second, third, subject, message_id, author = texts
        top = (first, second, third)
        yield MaildirFile(box, f"{box}/{path}", name, size, uid, at, mode, top, subject, message_id, author)
