"""What a user is under Locust: actions at moments that a schedule gives, each told to Locust and to the journal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import gevent
from locust import User, constant, task

from popbox.clients.wire import Address
from popbox.errors import PopboxError
from popbox.load.books.figures import kind_of
from popbox.load.users.boxes import since
from popbox.load.users.process import Process

IDLE_S = 1.0  # our choice: a user that has nothing to do looks again after this, so that it ends soon when told to
TIMEOUT_S = 30.0  # our choice: of each reply


class Scheduled(User):
    """A user of the class ``named``; ``next_in`` and ``act`` say when it does what."""

    abstract = True
    wait_time = constant(0)
    process: ClassVar[Process]
    named: ClassVar[str]
    plan: ClassVar[Any]

    def on_start(self) -> None:
        """Take dice of its own."""
        self.draw = self.process.draw(self.named)

    @task
    def turn(self) -> None:
        """Wait for the next moment, or a second of it, and act."""
        wait_s = self.next_in()
        if wait_s > 0:
            gevent.sleep(min(wait_s, IDLE_S))
        if self.next_in() <= 0:
            self.act()
        else:
            gevent.sleep(0)

    def next_in(self) -> float:
        """Seconds until the next moment."""
        raise NotImplementedError

    def act(self) -> None:
        """Do what is due."""
        raise NotImplementedError

    @contextmanager
    def told(self, protocol: str, name: str, box: str = "") -> Iterator[None]:
        """Tell Locust of one request, and journal and Locust of its failure; only errors of ours are failures."""
        began, failed = time.monotonic(), None
        try:
            yield
        except PopboxError as error:
            failed = error
            said = f"{protocol} {name}: {kind_of(str(error))}"
            self.process.note("error", box=box, took_us=since(began), note=said)
        took_ms = since(began) / 1_000
        self.environment.events.request.fire(
            request_type=protocol, name=name, response_time=took_ms, response_length=0, exception=failed, context={}
        )

    @property
    def smtp(self) -> Address:
        """Where SMTP is."""
        return self.process.smtp

    @property
    def pop3(self) -> Address:
        """Where POP3 is."""
        return self.process.pop3
