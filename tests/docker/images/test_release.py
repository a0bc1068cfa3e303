"""What .ci/release refuses, and that the job of a release needs no secret; its whole run is `make release-check`."""

from __future__ import annotations

import importlib.util
import json
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from tests.popbox import ROOT

PINNED = "click==8.3.1 \\\n    --hash=sha256:00\ncolorama==0.4.6 ; sys_platform == 'win32' \\\n    --hash=sha256:00\n"
RIGHT = ["pkg:pypi/click@8.3.1", "pkg:pypi/popbox-mailhost@0.1.0", "pkg:deb/debian/libc6@2.36?arch=amd64"]


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    spec = importlib.util.spec_from_loader("release", SourceFileLoader("release", str(ROOT / ".ci/release")))
    assert spec
    module = importlib.util.module_from_spec(spec)
    assert spec.loader
    spec.loader.exec_module(module)
    (tmp_path / "requirements.txt").write_text(PINNED)
    monkeypatch.setitem(module.IMAGES, "pop3", (*module.IMAGES["pop3"][:3], tmp_path / "requirements.txt"))
    return module


def listed(release: ModuleType, monkeypatch: pytest.MonkeyPatch, into: Path, purls: list[str]) -> int:
    """What it says of an image in which syft finds these packages."""
    found = json.dumps({"components": [{"name": "file"}, *({"purl": one} for one in purls)]})
    monkeypatch.setattr(release, "run", lambda *_, **__: (into / "popbox-pop3.cdx.json").write_text(found))
    count: int = release.packages("pop3", "popbox/pop3:x", into)
    return count


def test_an_image_with_what_its_requirements_pin_passes(
    release: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert listed(release, monkeypatch, tmp_path, RIGHT) == 3


@pytest.mark.parametrize(
    ("purls", "said"),
    [
        ([*RIGHT, "pkg:pypi/pip@25.0"], "differ in pkg:pypi/pip@25.0"),
        (RIGHT[1:], "differ in pkg:pypi/click@8.3.1"),
        (["pkg:pypi/click@8.3.0", *RIGHT[1:]], "differ in pkg:pypi/click@8.3.0, pkg:pypi/click@8.3.1"),
        ([RIGHT[0], RIGHT[2]], "does not name our own packages"),
        (RIGHT[:2], "does not name our own packages and Debian's"),
    ],
)
def test_another_image_is_refused(
    release: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, purls: list[str], said: str
) -> None:
    with pytest.raises(SystemExit, match=said):
        listed(release, monkeypatch, tmp_path, purls)


@pytest.mark.parametrize(
    ("tag", "heading", "said"),
    [
        ("v9.9.9", "## 0.1.0", "the tag is v9.9.9, the version 0.1.0"),
        ("v0.1.0", "## 0.1.0, unreleased", "CHANGELOG.md calls it `## 0.1.0, unreleased`"),
        ("v0.1.0", "## 0.0.9", "CHANGELOG.md has no part `## 0.1.0`"),
    ],
)
def test_a_tag_that_does_not_fit_the_tree_is_refused(
    release: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tag: str, heading: str, said: str
) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "0.1.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(f"# Changes\n\n{heading}\n")
    monkeypatch.setattr(release, "ROOT", tmp_path)
    monkeypatch.setattr(release, "run", lambda *_: "")
    monkeypatch.setenv("GITHUB_REF_TYPE", "tag")
    monkeypatch.setenv("GITHUB_REF_NAME", tag)
    with pytest.raises(SystemExit, match=said):
        release.version()


def test_the_job_needs_no_secret_and_writes_only_on_a_tag() -> None:
    text = (ROOT / ".github/workflows/release.yml").read_text()
    assert "secrets." not in text
    workflow: dict[str, Any] = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    writing = {name for name, job in workflow["jobs"].items() if "permissions" in job}
    assert writing == {"publish"}
    assert workflow["jobs"]["publish"]["if"] == "github.ref_type == 'tag'"
    assert workflow["jobs"]["publish"]["needs"] == ["check", "wheel"]
    assert any(step.get("run") == "make release-check" for step in workflow["jobs"]["check"]["steps"])
