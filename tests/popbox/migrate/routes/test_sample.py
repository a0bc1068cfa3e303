"""`popbox migrate routes --sample`: what is sent, what is found wrong, and that nothing of it stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click import UsageError
from click.testing import CliRunner
from tests.popbox.migrate.routes.hosts import ELSEWHERE, routes

from popbox.cli.migrate import migrate
from popbox.clients.smtp import Reply
from popbox.clients.wire import Address
from popbox.errors import HostError
from popbox.hosts.base import closing
from popbox.hosts.local import LocalHost
from popbox.hosts.state import Registry
from popbox.migrate.routes import proof
from popbox.migrate.routes.compare import Answer, End
from popbox.migrate.routes.sample import candidates, trial

DOMAIN = "domain.com"
Fault = Callable[[Path], None]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHost]:
    with closing(LocalHost.start(Registry(tmp_path_factory.mktemp("state")))) as up:
        assert isinstance(up, LocalHost)
        for argv in (
            ["domain", "add", DOMAIN],
            ["mailbox", "add", f"joe@{DOMAIN}", "--generate"],
            ["mailbox", "add", f"ann@{DOMAIN}", "--generate"],
            ["forward", "add", f"both@{DOMAIN}", f"joe@{DOMAIN}", f"ann@{DOMAIN}"],
            ["forward", "add", f"far@{DOMAIN}", f"x@{ELSEWHERE}"],
        ):
            done = up.run(*argv)
            assert done.code == 0, done.stderr
        yield up


@pytest.fixture
def host(up: LocalHost) -> Iterator[LocalHost]:
    """The host, put right again after a fault."""
    home = Path(up.home())
    joe, files = boxes(home) / "joe", (home / "control/rcpthosts", boxes(home) / "joe/.qmail")
    were = [(file, file.read_text()) for file in files]
    yield up
    for file, text in were:
        file.write_text(text)
    if (joe / "Maildir").is_symlink():
        (joe / "Maildir").unlink()
        (joe / "Elsewhere").rename(joe / "Maildir")
    for path in delivered(home):
        path.unlink()


def boxes(home: Path) -> Path:
    return home / "popboxes" / DOMAIN.replace(".", "-")


def sampled(host: LocalHost, place: Path, *more: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, the report's sample and the text, for one host on both sides."""
    home = Path(host.home())
    (place / "list").write_text(f"joe@{DOMAIN}\nboth@{DOMAIN}\nfar@{DOMAIN}\nnobody@nowhere.example\n")
    argv = ["--addresses", str(place / "list"), "--sample", "60", "--new-smtp", str(host.address("smtp"))]
    code, report, text = routes(home, home, *argv, "--within", "3", *more)
    return code, report["sample"], text


def of(sample: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in sample["tried"] if one["address"] == name)


def delivered(home: Path) -> list[Path]:
    return [path for part in ("new", "cur") for path in boxes(home).glob(f"*/Maildir/{part}/*")]


def test_a_right_host_passes_and_keeps_nothing_but_its_own_mail(host: LocalHost, tmp_path: Path) -> None:
    home = Path(host.home())
    own = boxes(home) / "joe/Maildir/new/1.own.host"
    own.write_text("Subject: mine\n\nX-Popbox-Routes: 00112233445566778899aabbccddeeff\n")
    code, sample, text = sampled(host, tmp_path, "--seed", "7")
    assert code == 0, text
    assert of(sample, f"joe@{DOMAIN}")["tried"] == "boxes"
    assert of(sample, f"both@{DOMAIN}")["reply"].startswith("250")
    assert of(sample, f"far@{DOMAIN}")["why"] == "an end is: remote"
    assert of(sample, "nobody@nowhere.example")["reply"].startswith("553")
    assert "seed 7: " in text
    assert delivered(home) == [own]
    assert sampled(host, tmp_path, "--seed", "7")[1]["tried"][0]["address"] == sample["tried"][0]["address"]


def _moved(home: Path) -> None:
    (boxes(home) / "joe/Maildir").rename(boxes(home) / "joe/Elsewhere")
    (boxes(home) / "joe/Maildir").symlink_to(boxes(home) / "ann/Maildir")


def _doubled(home: Path) -> None:
    with (boxes(home) / "joe/.qmail").open("a") as file:
        file.write("./Maildir/\n")


def _lost(home: Path) -> None:
    (boxes(home) / "joe/.qmail").write_text("#\n")


def _refused(home: Path) -> None:
    (home / "control/rcpthosts").write_text("other.example\n")


def _taken(home: Path) -> None:
    (home / "control/rcpthosts").unlink()


@pytest.mark.parametrize(
    ("fault", "name", "words"),
    [
        (_moved, f"joe@{DOMAIN}", "1 of 0 copies came into "),
        (_doubled, f"joe@{DOMAIN}", "2 of 1 copies came into "),
        (_lost, f"joe@{DOMAIN}", "0 of 1 copies came into "),
        (_refused, f"joe@{DOMAIN}", "the rules say that it is taken; the server said: 553"),
        (_taken, "nobody@nowhere.example", "the rules say that it is refused; the server said: 250"),
    ],
)
def test_what_changes_between_rules_and_sending_is_found(
    host: LocalHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault, name: str, words: str
) -> None:
    home, say, calls = Path(host.home()), proof.say, list[str]()

    def late(where: Address, to: str, octets: bytes | None, timeout_s: float) -> Reply:
        reply = say(where, to, octets, timeout_s) if calls else say(where, to, None, timeout_s)
        if not calls:  # the first is the question whether we may relay
            fault(home)
        calls.append(to)
        return reply

    monkeypatch.setattr(proof, "say", late)
    code, sample, text = sampled(host, tmp_path)
    assert code == 1, text
    assert any(words in one for one in of(sample, name)["faults"]), text
    assert sample["not_removed"] == []
    assert delivered(home) == []


@pytest.mark.parametrize("kind", ["program", "mbox", "remote", "forward", "bounced", "deferred", "discarded"])
def test_nothing_is_sent_where_one_end_is_no_maildir(kind: str) -> None:
    ends = (End("maildir", "/a"), End(kind, "x"))
    assert trial(b"a@b.example", "assign", Answer(True, ends)).fate == "not sent"
    assert trial(b"a@b.example", "assign", Answer(True, ends[:1])).fate == "boxes"


@pytest.mark.parametrize("address", [b"a b@c", b"a>\r\nDATA@c", b"\xe4@c", b"<a@c", b'"a"@c', b""])
def test_an_address_that_would_change_the_command_is_not_sent(address: bytes) -> None:
    assert trial(address, "given", Answer(False, ())).fate == "not sent"


def test_each_kind_is_drawn_and_a_seed_draws_the_same() -> None:
    asked = {b"%d@a" % number: ("assign", "extension", "domain")[min(number, 2)] for number in range(5000)}
    drawn = candidates(asked, 10, 3)
    assert len(drawn) == 40
    assert {b"0@a", b"1@a"} <= set(drawn)
    assert drawn == candidates(asked, 10, 3) != candidates(asked, 10, 4)


def test_no_server_and_half_a_wish_are_errors(host: LocalHost, tmp_path: Path) -> None:
    with pytest.raises(HostError, match="takes no SMTP"):
        sampled(host, tmp_path, "--new-smtp", "127.0.0.1:1")
    argv = ["routes", "--old", host.home(), "--new", host.home(), "--sample", "3"]
    done = CliRunner().invoke(migrate, argv, standalone_mode=False)
    assert isinstance(done.exception, UsageError)
