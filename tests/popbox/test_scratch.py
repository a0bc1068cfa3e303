"""A temporary directory of a killed program goes when the next one starts; that of a living one stays."""

from __future__ import annotations

import fcntl
import os
import tempfile
from pathlib import Path
from types import ModuleType

import pytest

from popbox.scratch import scratch


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
            assert (place.parent, place.stat().st_mode & 0o777) == (temporary, 0o700)
            there = {path.name for path in temporary.iterdir()} - {place.name}
        gone = left - there
        assert [name[:9] for name in gone] == ["popbox-x-"]
        assert living.is_dir()
    assert not living.exists()
    assert (outside / "kept").is_dir()


@pytest.mark.parametrize(("module", "name"), [(tempfile, "mkdtemp"), (fcntl, "flock")])
def test_one_that_was_taken_for_left_before_it_was_locked_is_made_again(
    temporary: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str
) -> None:
    call, taken = getattr(module, name), list[Path]()

    def swept_then(*args: object, **kwargs: object) -> object:
        done = call(*args, **kwargs)
        if not taken:
            taken.extend(temporary.iterdir())
            taken[0].rmdir()
        return done

    monkeypatch.setattr(module, name, swept_then)
    with scratch("popbox-x-") as place:
        assert place.is_dir()
        assert [place] != taken
    assert not list(temporary.iterdir())
