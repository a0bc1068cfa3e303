"""Locust's classes of users, made from the plan; and what master and workers have in common."""

from __future__ import annotations

from locust import User as LocustUser

from popbox.load.books.journal import one_line
from popbox.load.plan.model import User
from popbox.load.plan.spec import Spec
from popbox.load.users.base import Scheduled
from popbox.load.users.reader import ReaderUser
from popbox.load.users.rude import RudeUser
from popbox.load.users.sender import SenderUser

KINDS: dict[str, type[Scheduled]] = {
    "sender": SenderUser,
    "poller": ReaderUser,
    "fetcher": ReaderUser,
    "hoarder": ReaderUser,
    "rude": RudeUser,
}
STOP_S = 35  # a little more than the timeout of a reply, so that what was begun has its end in the journal


def classes(spec: Spec) -> list[type[LocustUser]]:
    """A Locust class for each class of users in the plan."""
    made: list[type[LocustUser]] = []
    for name, one in spec.plan.classes.items():
        if isinstance(one, User):
            fields = {"named": name, "plan": one, "weight": one.weight, "fixed_count": one.count or 0}
            made.append(type(name.replace("-", "_"), (KINDS[one.kind],), {**fields, "abstract": False}))
    return made


def writer_of(client_id: str) -> str:
    """The name of a worker's journal; its id is the machine's name and a random number."""
    return one_line(client_id).replace("/", "_")
