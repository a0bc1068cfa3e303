"""One look at every box. Where nothing has changed it costs one login on the old host, and none on the new one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from popbox.migrate.pop3.accounts import Account
from popbox.migrate.pop3.host import Host, Unavailable
from popbox.migrate.pop3.parallel import in_threads
from popbox.migrate.verify.mailbox import Side, read_box, read_fields
from popbox.migrate.verify.naming import clean, named
from popbox.migrate.verify.watch.memory import Late, Remembered


@dataclass(frozen=True, slots=True)
class Looked:
    """One box after a look: what is to be remembered, and the late messages that are new; or why it could not be."""

    login: str
    remembered: Remembered | None
    news: tuple[Late, ...] = ()
    unavailable: str = ""


@dataclass(frozen=True)
class Round:
    """A look at many boxes. ``at`` is its time, as it is shown."""

    old: Host
    new: Host
    at: str

    def run(self, accounts: Sequence[Account], known: dict[tuple[str, str], Remembered]) -> Iterator[Looked]:
        """Boxes as they are done, in any order."""

        def look(account: Account) -> Looked:
            key = (account.old_login, account.new_login)
            return self.look(account, known.get(key) or Remembered(login=key[0], new_login=key[1]))

        return in_threads(look, accounts, self.old.jobs)

    def look(self, account: Account, before: Remembered) -> Looked:
        """One box: what the old host lists, and where that is not known, what the new one does."""
        try:
            old = _listed(self.old, account.old_login, account.old_password)
            ids = {message.uidl for message in old.messages}
            there = before.known
            if not ids <= before.known:
                new = _listed(self.new, account.new_login, account.new_password)
                there = there | {message.uidl for message in new.messages}
        except Unavailable as error:
            return Looked(account.old_login, None, unavailable=str(error))
        earlier = {late.message.uidl: late for late in before.late}
        missing = [named(message) for message in old.messages if message.uidl not in there]
        fresh = [message for message in missing if message.uidl not in earlier]
        if fresh:
            wanted = {message.number: message.uidl for message in fresh}
            fields, _ = read_fields(self.old, account.old_login, account.old_password, wanted)
            fresh = [named(message, fields.get(message.number, ())) for message in fresh]
        news = tuple(Late(message=message, since=self.at) for message in fresh)
        late = (*(earlier[message.uidl] for message in missing if message.uidl in earlier), *news)
        box = before.model_copy(update={"known": frozenset(ids & there), "late": late})
        return Looked(account.old_login, box, news)


def _listed(host: Host, login: str, password: str) -> Side:
    """A box that can be watched.

    Raises:
        Unavailable: it cannot be listed, or its messages have no ids.
    """
    side = read_box(host, login, password, content=False)
    if side.refused:
        raise Unavailable(f"the {host.side} host refused the login: {clean(side.refused)}")
    if any(not message.uidl for message in side.messages) or side.listing.malformed or side.listing.wrong:
        raise Unavailable(f"the {host.side} host gives no UIDLs to watch by: verify names what is wrong")
    return side
