"""`popbox logs --follow`: what is new is read, and nothing twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from popbox.cli import host as verbs
from popbox.cli.main import cli
from popbox.hosts.following import FileFollower


class Logged:
    """A host that has logs, and counts how often they are read whole."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.whole = folder, 0

    def log(self, service: str) -> str:
        self.whole += 1
        return (self.folder / service).read_text()

    def follow(self, service: str) -> FileFollower:
        return FileFollower(self.folder / service)


@pytest.mark.parametrize(
    ("options", "before", "whole"),
    [
        ((), ["smtp | a", "smtp | b", "pop3 | c"], 0),
        (("--tail", "1"), ["smtp | b", "pop3 | c"], 2),
        (("--tail", "0"), [], 2),
    ],
)
def test_a_log_is_read_on_from_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], before: list[str], whole: int
) -> None:
    logged, rounds = Logged(tmp_path), iter(("smtp", "pop3"))
    (tmp_path / "smtp").write_text("a\nb\n")
    (tmp_path / "pop3").write_text("c\n")
    monkeypatch.setattr(verbs, "target", lambda *_: logged)

    def later(_seconds: float) -> None:
        service = next(rounds, None)
        if service is None:
            raise KeyboardInterrupt
        with (tmp_path / service).open("a") as log:
            log.write(f"new {service}\n")

    monkeypatch.setattr(verbs.time, "sleep", later)
    done = CliRunner().invoke(cli, ["logs", "--follow", *options])
    assert done.output.splitlines()[: len(before) + 2] == [*before, "smtp | new smtp", "pop3 | new pop3"]
    assert logged.whole == whole
