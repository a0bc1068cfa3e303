"""The whole verdict of one box, in words where something is different."""

from __future__ import annotations

from collections import Counter

from popbox.migrate.pop3.habits import listed
from popbox.migrate.verify import sizes
from popbox.migrate.verify.digest import Content
from popbox.migrate.verify.judge.order import by_number, moved
from popbox.migrate.verify.judge.pairing import Pairs, pair
from popbox.migrate.verify.judge.unchanged import unchanged
from popbox.migrate.verify.mailbox import Side
from popbox.migrate.verify.message import Message
from popbox.migrate.verify.naming import clean, named
from popbox.migrate.verify.result import ASPECTS, Box, Count, Downloads, Finding, Kind, Verdict

ENCODING = 3  # in digest.FIELDS


class Comparison:
    """One box. ``profiles`` are those of the old and the new side."""

    def __init__(self, old: Side, new: Side, profiles: tuple[str, str], content: bool) -> None:
        """``content`` is whether it was read."""
        self.old, self.new, self.profiles, self.content = old, new, profiles, content
        self.pairs = pair(old.messages, new.messages)
        self.findings: list[Finding] = []
        self.reasons: dict[str, str] = {}

    def verdicts(self) -> dict[str, Verdict]:
        """All five, in the order of ASPECTS; findings and reasons are filled on the way."""
        if not self._login():
            self.reasons = dict.fromkeys(ASPECTS[1:], "a login was refused")
            return {"login": Verdict.DIFFERENT} | dict.fromkeys(ASPECTS[1:], Verdict.NOT_JUDGED)
        self._listings()
        self._alone()
        content = self._contents()
        self._replies()
        judged = {"uidl": self._uidls(), "order": self._order(), "sizes": self._sizes(), "content": content}
        return {"login": Verdict.EQUAL} | judged

    def _note(self, kind: Kind, said: str, old: Message | None = None, new: Message | None = None) -> None:
        key = old or new
        self.findings.append(
            Finding(
                kind=kind,
                said=said,
                old=named(old) if old else None,
                new=named(new) if new else None,
                key=_key(key) if key and kind in ("missing", "extra", "doubled") else "",
            )
        )

    def _login(self) -> bool:
        for side, name in ((self.old, "old"), (self.new, "new")):
            if side.refused:
                self._note("login", f"the {name} host refused the login: {clean(side.refused)}")
        return not (self.old.refused or self.new.refused)

    def _listings(self) -> None:
        """Lines of LIST and UIDL that no client can read."""
        for name, side in _sides(self):
            for verb, lines in side.listing.malformed.items():
                for text in lines:
                    self._note("listing", f"the {name} host sent {clean(text)[:80]!r} as a line of {verb}")

            for said in side.listing.wrong:
                self._note("listing", f"the {name} host {clean(said)}")

    def _replies(self) -> None:
        """What is no difference between the messages, but some client may stumble over."""
        for name, side in _sides(self):
            for said in (*side.odd, *side.listing.odd):
                self._note("reply", f"the {name} host {clean(said)}")
        if self.new.listing.no_stat and self.old.listing.no_stat == "":
            self._note(
                "reply", f"the new host refuses STAT, which the old one answers: {clean(self.new.listing.no_stat)}"
            )

    def _malformed(self, verb: str) -> bool:
        return any(verb in side.listing.malformed for _, side in _sides(self))

    def _wrong(self) -> bool:
        """Whether a host's listing is not of one piece: which messages the box has is not certain."""
        return self._malformed("LIST") or any(side.listing.wrong for _, side in _sides(self))

    def _alone(self) -> None:
        """Missing and extra messages, and those of the latter that are there a second time."""
        first: dict[bytes | None, Message] = {new.key: new for _, new in reversed(self.pairs.both)}
        for message in self.pairs.missing:
            twin = first.get(message.key) if message.key else None
            also = f"; its text is there once, as number {twin.number}, and was twice" if twin else ""
            self._note("missing", f"not on the new host{also}", old=message)
        for message in self.pairs.extra:
            twin = first.get(message.key) if message.key else None
            if twin:
                self._note("doubled", f"the same text as number {twin.number} of the new host", new=message)
            else:
                self._note("extra", "not on the old host", new=message)

    def _uidls(self) -> Verdict:
        missing = [f"the {name} host has no UIDL" for name, side in _sides(self) if side.listing.no_uidl]
        if missing:
            return self._not_judged("uidl", " and ".join(missing))
        for old, new in self.pairs.both:
            if old.uidl != new.uidl:
                was, now = (clean(message.uidl) or "none" for message in (old, new))
                self._note("uidl", f"UIDL {was} became {now}", old, new)
            elif not old.uidl:
                self._note("uidl", "neither host gives it a UIDL", old, new)
        clear = [self._clear(name, side) for name, side in _sides(self)]
        same = Counter(m.uidl for m in self.old.messages) == Counter(m.uidl for m in self.new.messages)
        same = same and all(clear) and not self._malformed("UIDL")
        return _verdict(same and not any(finding.kind == "uidl" for finding in self.findings))

    def _clear(self, name: str, side: Side) -> bool:
        """Whether no id stands for two messages: a client would never fetch the second."""
        groups: dict[str, list[int]] = {}
        for message in side.messages:
            groups.setdefault(message.uidl, []).append(message.number)
        twins = {uidl: numbers for uidl, numbers in groups.items() if uidl and len(numbers) > 1}
        for uidl, numbers in twins.items():
            self._note("uidl", f"the {name} host gives UIDL {clean(uidl)} to numbers {', '.join(map(str, numbers))}")
        return not twins

    def _order(self) -> Verdict:
        if self.old.messages and self.new.messages and not self.pairs.both:
            return self._not_judged("order", "no message could be told to be the same on both hosts")
        out = moved([new.number for _, new in self.pairs.both])
        for old, new in self.pairs.both:
            if new.number in out:
                self._note("reordered", f"number {old.number} became {new.number}, out of order", old, new)
        return _verdict(not out)

    def _sizes(self) -> Verdict:
        if not self.content:
            return self._sizes_unread()
        equal = not self._wrong()
        for old, new in self.pairs.both:
            wrong = [self._misfit(name, message) for name, message in (("old", old), ("new", new))]
            said = "; ".join(filter(None, wrong))
            if said:
                self._note("size", said, old, new)
            equal = equal and not said and self._same_length(old, new)
        return _verdict(equal)

    def _misfit(self, name: str, message: Message) -> str:
        if message.listed:
            return f"the {name} host lists {clean(message.listed)[:80]!r}, which is no number"
        profile, content = self.profiles[name == "new"], message.content
        if content is None:
            return ""
        due = listed(profile, content.octets, content.lines)
        if message.size in due:
            return ""
        said = " or ".join(map(str, due))
        return f"the {name} host lists {message.size} octets, by the profile {profile} {said} are due"

    def _same_length(self, old: Message, new: Message) -> bool:
        if old.content is None or new.content is None:
            return False
        return sizes.length(self.profiles[0], old.content) == sizes.length(self.profiles[1], new.content)

    def _sizes_unread(self) -> Verdict:
        equal, unknown = not self._wrong(), False
        for old, new in self.pairs.both:
            if said := "; ".join(filter(None, (self._misfit("old", old), self._misfit("new", new)))):
                equal = False
                self._note("size", said, old, new)
                continue
            same = sizes.comparable(self.profiles[0], old.size, self.profiles[1], new.size)
            unknown = unknown or same is None
            if same is False:
                equal = False
                self._note("size", f"{old.size} octets became {new.size}", old, new)
        if equal and unknown:
            return self._not_judged(
                "sizes", "one host counts LF, the other CR LF: without content, sizes are bounds only"
            )
        return _verdict(equal)

    def _contents(self) -> Verdict:
        if not self.content:
            return self._not_judged("content", "not asked for (--no-content)")
        equal = not (self.pairs.missing or self.pairs.extra or self._wrong())
        for old, new in self.pairs.both:
            if old.content is None or new.content is None:
                self._note("unreadable", clean("; ".join(filter(None, (old.trouble, new.trouble)))), old, new)
                equal = False
            elif said := self._change(old, new):
                self._note("changed", said, old, new)
                equal = False
            elif said := _added(old.content, new.content):
                self._note("added", said, old, new)
        return _verdict(equal)

    def _change(self, old: Message, new: Message) -> str:
        """In words, what is different about a message that is there; empty where nothing is."""
        assert old.content is not None
        assert new.content is not None
        before, after = sizes.canonical(self.profiles[0], old.content), sizes.canonical(self.profiles[1], new.content)
        if before == after:
            return ""
        parts = [part for part, was, now in zip(("header", "body"), before, after, strict=False) if was != now]
        words = " and ".join(parts) or "newlines at the end"
        return f"{words} changed{self._how(old, new, parts)}"

    def _how(self, old: Message, new: Message, parts: list[str]) -> str:
        assert old.content is not None
        assert new.content is not None
        was, now = (clean(side.content.fields[ENCODING]) or "none" for side in (old, new) if side.content)
        if was != now:
            return f": re-encoded, {was} became {now}"
        was_octets = sizes.length(self.profiles[0], old.content)
        octets = sizes.length(self.profiles[1], new.content)
        if octets == was_octets:
            return f": {octets} octets as before"
        cut = ": looks cut off" if octets < was_octets and parts == ["body"] else ""
        return f"{cut}: {was_octets} octets became {octets} (LF line ends)"

    def _not_judged(self, aspect: str, why: str) -> Verdict:
        self.reasons[aspect] = why
        return Verdict.NOT_JUDGED


def compare(login: str, new_login: str, old: Side, new: Side, profiles: tuple[str, str], content: bool) -> Box:
    """The whole verdict of a box that both hosts have shown."""
    box = Box(
        login=login,
        new_login=new_login,
        verdicts=dict.fromkeys(ASPECTS, Verdict.EQUAL),
        old=_count(old, profiles[0]),
        new=_count(new, profiles[1]),
        retries=old.again + new.again,
    )
    if content and unchanged(old, new, profiles):
        return box
    comparison = Comparison(old, new, profiles, content)
    found = {
        "verdicts": comparison.verdicts(),
        "reasons": comparison.reasons,
        "findings": tuple(comparison.findings),
        "downloads": downloads(comparison.pairs, old, new),
    }
    return box.model_copy(update=found)


def downloads(pairs: Pairs, old: Side, new: Side) -> Downloads:
    """What clients fetch from the new host that have everything from the old one."""
    known = {message.uidl for message in old.messages if message.uidl}
    had = {id(message) for _, message in pairs.both}
    fetched = [message for message in new.messages if message.uidl not in known]
    places = {id(message): place for side in (old, new) for place, message in enumerate(side.messages, 1)}
    both = [(places[id(before)], places[id(after)]) for before, after in pairs.both]
    again, missed = by_number(both, [places[id(extra)] for extra in pairs.extra], len(old.messages))
    return Downloads(
        uidl=len(fetched),
        uidl_known=sum(id(message) in had for message in fetched),
        number=max(len(new.messages) - len(old.messages), 0),
        number_again=again[-1],
        number_missed=missed[-1],
        worst_again=max(again),
        worst_missed=max(missed),
    )


def _added(old: Content, new: Content) -> str:
    """In words, which lines a server wrote into the header; empty where both headers are the same."""
    if old.head == new.head:
        return ""
    said = [
        f"the {name} host has {clean(b', '.join(dict.fromkeys(content.added)))} in the header"
        for name, content in (("old", old), ("new", new))
        if content.added
    ]
    return " and ".join(said) + ": such lines are written by mail servers, the message is the same"


def _sides(comparison: Comparison) -> tuple[tuple[str, Side], tuple[str, Side]]:
    return ("old", comparison.old), ("new", comparison.new)


def _verdict(equal: bool) -> Verdict:
    return Verdict.EQUAL if equal else Verdict.DIFFERENT


def _key(message: Message) -> str:
    return message.key.hex() if message.key else f"uidl:{message.uidl}"


def _count(side: Side, profile: str) -> Count:
    read = sum([message.measured[0] for message in side.messages if message.measured])
    return Count(
        messages=len(side.messages), octets=sum(m.size for m in side.messages), read_octets=read, profile=profile
    )
