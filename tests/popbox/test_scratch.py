"""A temporary directory of a killed program goes when the next one starts; a living one's, or another's, stays."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from popbox.scratch import MARK, WORK, scratch


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary directories lie in this test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def killed_in(prefix: str) -> None:
    """A process that ends with a scratch of its own in use, as by SIGKILL."""
    if (child := os.fork()) == 0:
        with scratch(prefix) as place:
            (place / "file").write_text("left")
            os._exit(0)
    os.waitpid(child, 0)


def test_what_a_killed_program_left_goes_at_the_next_start_and_nothing_else_does(temporary: Path) -> None:
    with scratch("popbox-x-") as living:
        killed_in("popbox-x-")
        killed_in("popbox-y-")
        outside = temporary / "outside"
        (outside / "kept").mkdir(parents=True)
        (temporary / "popbox-x-link").symlink_to(outside)
        (temporary / "popbox-x-file").write_text("no directory")
        left = {path.name for path in temporary.iterdir()}
        assert len(left) == 6
        with scratch("popbox-x-") as place:
            assert place.parent.stat().st_mode & 0o777 == 0o700
            there = {path.name for path in temporary.iterdir()} - {place.parent.name}
        gone = left - there
        assert [name[:9] for name in gone] == ["popbox-x-"]
        assert living.is_dir()
    assert not living.parent.exists()
    assert (outside / "kept").is_dir()


def test_nothing_is_removed_that_may_be_someones_own(temporary: Path) -> None:
    """Such as the target of an import that someone gave such a name: each of these lacks one sign of ours."""
    for name in ("of-mine", "withmail"):
        killed_in("popbox-y-")
        (made,) = temporary.glob("popbox-y-*")
        made.rename(temporary / f"popbox-x-{name}")
    (temporary / "popbox-x-withmail/mail").touch()
    (temporary / "popbox-x-12345678" / WORK).mkdir(parents=True)
    (temporary / "popbox-x-12345678" / MARK).touch()
    (temporary / "popbox-x-abcdefgh").mkdir()
    before = sorted(temporary.rglob("*"))
    with scratch("popbox-x-"):
        pass
    assert len(before) == 13
    assert sorted(temporary.rglob("*")) == before
