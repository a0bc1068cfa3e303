"""A fault that the engine refuses is no verdict on the mail host: tried again, then skipped with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.popbox.fakehost import FakeHost

from popbox.errors import HostError, NotPossibleError
from popbox.hosts.docker import faults
from popbox.hosts.docker.faults import TRIES, Faults
from popbox.result import Verdict
from popbox.run.runner import run
from popbox.scenario.load import load
from popbox.scenario.names import Service

UNABLE = "Error response from daemon: cannot pause container 4711: OCI runtime pause failed: unable to freeze: unknown"
PAUSED = """
title = "paused"
needs = { own-host = true }
[[step]]
break = { id = "hang", pause = "smtp" }
[[step]]
heal = "hang"
"""


def engine(tmp_path: Path, said: str, refusals: int) -> Faults:
    """An engine that says this so often to ``pause``."""
    program, asked = tmp_path / "docker", tmp_path / "asked"
    program.write_text(
        f"#!/bin/sh\necho $1 >>'{asked}'\n"
        f"[ $1 != pause ] || [ $(grep -cx pause '{asked}') -gt {refusals} ] || {{ echo '{said}' >&2; exit 1; }}\n"
    )
    program.chmod(0o755)
    return Faults("p", "l", lambda _service: "c", {"PATH": f"{tmp_path}:/usr/bin:/bin"})


def asked(tmp_path: Path) -> list[str]:
    return (tmp_path / "asked").read_text().split()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(faults, "AGAIN_S", 0.0)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


def test_a_freezer_that_is_slow_is_asked_again(tmp_path: Path) -> None:
    engine(tmp_path, UNABLE, 2).pause("smtp", True)
    assert asked(tmp_path) == ["pause", "unpause", "pause", "unpause", "pause"], "none is left half frozen"


def test_one_that_never_freezes_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(NotPossibleError, match=r"`docker pause c` ended with 1: .*unable to freeze"):
        engine(tmp_path, UNABLE, 1_000).pause("smtp", True)
    assert asked(tmp_path) == ["pause", "unpause"] * TRIES


def test_another_refusal_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="is not running") as refused:
        engine(tmp_path, "Container c is not running", 1_000).pause("smtp", True)
    assert not isinstance(refused.value, NotPossibleError)
    assert asked(tmp_path) == ["pause"]


@dataclass
class Frozen(FakeHost):
    """Its engine freezes nothing."""

    why: type[HostError] = NotPossibleError

    def pause(self, service: Service, on: bool) -> None:
        raise self.why(UNABLE)


def test_the_scenario_is_skipped_with_the_engines_reason(tmp_path: Path) -> None:
    (tmp_path / "paused.toml").write_text(PAUSED)
    result = run(load(tmp_path / "paused.toml"), Frozen(name="docker"))
    assert (result.verdict, result.reason) == (Verdict.SKIPPED, f"not possible on this host: {UNABLE}")
    result = run(load(tmp_path / "paused.toml"), Frozen(name="docker", why=HostError))
    assert (result.verdict, UNABLE in result.reason) == (Verdict.FAILED, True)
