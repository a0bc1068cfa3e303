"""``plan``'s "how large": arithmetic on measured figures, each with its source; nothing where nothing was given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from popbox.cli.migrate import migrate
from popbox.migrate.plan import measured
from popbox.migrate.plan.sizing import Load, lines
from popbox.migrate.pop3.accounts import Unusable

ROOT = Path(__file__).parents[4]


def sheet(*options: str) -> str:
    argv = ["plan", "--old", "old.example", "--new", "new.example", *options]
    done = CliRunner().invoke(migrate, argv, standalone_mode=False, catch_exceptions=False)
    assert done.return_value == 0
    return " ".join(done.output.split())


def test_without_a_load_nothing_is_said() -> None:
    assert "HOW LARGE" not in sheet()


def test_polls_become_cores() -> None:
    said = " ".join(lines(Load(polls_per_minute=60_000)))
    assert "1,000.00 sessions/s x 0.0774 ms (none finds mail) to 0.773 ms" in said
    assert "cores busy: 0.0774 to 0.7730 at an even load" in said
    assert "SMTP" not in said, "it was not given"
    assert "mail on disk: not known" in said


def test_mail_becomes_disk_and_inodes() -> None:
    said = " ".join(lines(Load(boxes=1_000, messages_per_day=864_000, messages_stored=1 << 20, average_octets=4_096)))
    assert "mail: 1,048,576 x 4,096 octets, each in whole blocks of 4,096 = 4.0 GiB to 8.0 GiB" in said
    assert f"SMTP: 10.00 messages/s on average x {measured.SMTP.least} to {measured.SMTP.most} ms" in said
    assert f"{1_048_576 + round(1_000 * measured.BOX_INODES.most):,} inodes" in said


def test_each_figure_names_a_bench_of_this_repository_or_the_commands() -> None:
    figures = [value for value in vars(measured).values() if isinstance(value, measured.Figure)]
    assert len(figures) >= 6
    for figure in figures:
        first = figure.source.split()[0].rstrip(",")
        assert (ROOT / first).is_file() or figure.source == measured.BOX_BENCH
        assert figure.least <= figure.most
        assert "2026-11-" in figure.source


def audit(path: Path, *messages: int | None) -> str:
    path.write_text(json.dumps({"boxes": [{"messages": number, "octets": 8_192} for number in messages]}))
    return str(path)


def test_the_audit_gives_what_was_not_given(tmp_path: Path) -> None:
    said = sheet("--audit-report", audit(tmp_path / "a", 2, 2))
    assert "boxes: 2 x 25,600 octets" in said
    assert "mail: 4 x 4,096 octets" in said
    assert "boxes: 7 x" in sheet("--audit-report", audit(tmp_path / "a", 2, 2), "--boxes", "7")


def test_an_mbox_that_was_not_counted_leaves_the_mail_not_known(tmp_path: Path) -> None:
    assert "mail on disk: not known" in sheet("--audit-report", audit(tmp_path / "a", 2, None))


def test_a_report_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("{}")
    with pytest.raises(Unusable, match=r"bad: boxes: Field required"):
        sheet("--audit-report", str(tmp_path / "bad"))
