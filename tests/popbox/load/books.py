"""Journals as the processes of a run write them, by hand: one message after the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from popbox.load.books.journal import Journal
from popbox.load.books.judge import Verdict, judge
from popbox.load.books.tables import DRAIN, STAGE, WRITERS, opened
from popbox.load.books.world import World

S = 1_000_000_000
BEGAN = 1_700_000_000 * S


@dataclass
class Written:
    """The journals of one worker and of the stage. Times are in seconds from the begin of the run."""

    folder: Path
    stages: str = STAGE  # the name of the journal of faults
    worker: Journal = field(init=False)
    stage: Journal = field(init=False)

    def __post_init__(self) -> None:
        self.worker, self.stage = Journal(self.folder, "worker"), Journal(self.folder, self.stages)
        (self.folder / WRITERS).write_text("worker\n")

    def sent(
        self,
        token: str,
        box: str = "joe@a",
        at: float = 1.0,
        said: str = "accept",
        digest: str = "d",
        took_us: int = 1_000,
        late_us: int = 0,
    ) -> None:
        common = {"token": token, "box": box, "digest": digest, "octets": 9, "took_us": took_us, "late_us": late_us}
        self.worker.write(said, at_ns=ns(at), note="250 ok", **common)

    def fetched(
        self, token: str, uidl: str, box: str = "joe@a", at: float = 2.0, digest: str = "d", session: int = 1
    ) -> None:
        self.worker.write("list", at_ns=ns(at), box=box, uidl=uidl, session=session)
        self.worker.write(
            "fetch", at_ns=ns(at), token=token, box=box, uidl=uidl, digest=digest, octets=9, session=session
        )

    def deleted(
        self, uidl: str, box: str = "joe@a", at: float = 2.5, session: int = 1, ended: str = "commit", why: str = ""
    ) -> None:
        self.worker.write("delete", at_ns=ns(at), box=box, uidl=uidl, session=session)
        self.worker.write(ended, at_ns=ns(at), box=box, session=session, took_us=1_000, note=why)

    def broke(self, kind: str, target: str, at: float, until: float) -> None:
        self.stage.write("fault", at_ns=ns(at), token=f"f{at}", box=target, note=kind)
        self.stage.write("healed", at_ns=ns(until), token=f"f{at}", box=target, note=kind)

    def ended(self) -> None:
        self.worker.end()
        self.stage.end()
        if self.stages == STAGE:  # all that a run leaves
            Journal(self.folder, DRAIN).end()
            World().write(self.folder)

    def verdict(self) -> Verdict:
        self.ended()
        with opened(self.folder) as books:
            return judge(books, self.folder)

    def counts(self) -> dict[str, int]:
        """The verdicts that were given."""
        return {name: many for name, many in self.verdict().counts.items() if many}


def ns(at: float) -> int:
    return BEGAN + int(at * S)
