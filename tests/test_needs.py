"""Needs stand in one table: no test asks the machine otherwise, and a test that lacks something is counted by name."""

from __future__ import annotations

import ast
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from tests import needs

HERE = Path(__file__).parent
ASKING = {"which", "skip", "skipif", "importorskip", "skipIf", "skipUnless", "SkipTest"}
LOOKING = {"geteuid", "getuid", "exists", "is_dir", "is_file", "sched_getaffinity"}
INI = f"[pytest]\nmarkers = needs: x\npythonpath = {shlex.quote(str(HERE.parent))}\n"
pytest_plugins = ["pytester"]


def sources() -> list[Path]:
    """All but the table itself and the benches, which are no part of `make test`."""
    return [path for path in HERE.rglob("*.py") if path.name != "needs.py" and "bench" not in path.parts]


class Looked(NamedTuple):
    """What the tests read in the text of others; no tree is kept."""

    asked: list[str]  # where and what
    words: set[str]


@pytest.fixture(scope="module")
def looked() -> Looked:
    """Each file parsed once, in one process of all that run tests (spread.py)."""
    found = Looked([], set())
    for path in sources():
        tree = ast.parse(path.read_bytes())
        found.asked.extend(f"{path.relative_to(HERE)}:{line}: {what}" for line, what in asked(tree))
        found.words.update(strings(tree))
    return found


def strings(tree: ast.AST) -> Iterator[str]:
    return (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))


def asked(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Lines that ask for a need by themselves, or that end a test without a word where something is lacking."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ASKING:
            yield node.lineno, f"{ast.unparse(node)}"
        if isinstance(node, ast.ImportFrom) and node.module in ("shutil", "pytest", "unittest"):
            yield from ((node.lineno, name.name) for name in node.names if name.name in ASKING)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield from ((branch.lineno, "ends without a word") for branch in node.body if silent(branch))


def silent(branch: ast.stmt) -> bool:
    """``if os.geteuid(): return`` and its kind at the head of a test."""
    if not isinstance(branch, ast.If) or not isinstance(branch.body[-1], ast.Return):
        return False
    return any(isinstance(node, ast.Attribute) and node.attr in LOOKING for node in ast.walk(branch.test))


def test_no_test_asks_the_machine_itself(looked: Looked) -> None:
    assert looked.asked == [], "say it with pytest.mark.needs or tests.needs.require"


@pytest.mark.parametrize(
    "text",
    [
        "shutil.which('x')",
        "from shutil import which",
        "@pytest.mark.skipif(True, reason='')\ndef test(): pass",
        "def test_x():\n    pytest.skip('no')",
        "def test_x():\n    if os.geteuid():\n        return\n    assert False",
        "pytest.importorskip('x')",
    ],
)
def test_it_is_found_when_one_does(text: str) -> None:
    assert len(list(asked(ast.parse(text)))) == 1


def test_every_need_of_the_table_is_somebodys(looked: Looked) -> None:
    words = looked.words.union(strings(ast.parse((HERE / "bench/pop3/test_load.py").read_bytes())))
    pages = (path.read_text("utf-8").partition("\n")[0] for path in (HERE.parent / "harness/docs").glob("*.md"))
    named = {name for line in pages if line.startswith("<!-- needs: ") for name in line[12:-4].split(", ")}
    above = {name for need in needs.NEEDS.values() for name in need.on}
    assert needs.NEEDS.keys() - words - named - above == set()


def test_what_stands_at_the_bottom_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client without an engine, an engine without compose: each is told apart."""
    answers = dict.fromkeys(("docker client", "engine", "compose", "buildx", "base image", "host docker"), "")
    for lacked in answers:
        for name in answers:
            why = f"no {name}" if name == lacked else ""
            monkeypatch.setitem(needs.NEEDS, name, needs.Need(lambda why=why: why, needs.NEEDS[name].on))
        needs.lacking.cache_clear()
        assert needs.lacking("host docker") == (lacked, f"no {lacked}")
    needs.lacking.cache_clear()


def test_a_client_with_nothing_behind_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Debian's docker-cli alone: it is on PATH, knows no `compose`, and no engine answers it."""
    client = tmp_path / "docker"
    client.write_text('#!/bin/sh\ncase "$2" in --help) exit 0;; esac\necho "no engine and no plugin" >&2; exit 1\n')
    client.chmod(0o755)
    monkeypatch.setattr(needs, "PATH", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    needs.lacking.cache_clear()
    try:
        assert needs.lacking("docker client") is None
        for name in ("engine", "compose", "buildx", "docker stack"):
            found = needs.lacking(name)
            assert found is not None
            assert found[0] == name
        assert (needs.lacking("host docker") or ("",))[0] == "engine"
    finally:
        needs.lacking.cache_clear()


def test_a_lack_is_counted_by_name(pytester: pytest.Pytester) -> None:
    pytester.makeconftest((HERE / "conftest.py").read_text())
    pytester.makeini(INI)
    pytester.makepyfile(
        """
        import pytest
        from tests import needs

        needs.NEEDS |= {"a moon": needs.Need(lambda: "only a sun"), "a sky": needs.Need(str, ("a moon",))}

        @pytest.mark.needs("a sky")
        def test_by_marker(): assert False

        @pytest.fixture
        def night(): needs.require("a moon")

        def test_by_fixture(night): assert False

        def test_by_a_try(): needs.lacks("a sky", "there are clouds")

        def test_that_runs(): pass
        """
    )
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    done.assert_outcomes(passed=1, skipped=3)
    done.stdout.fnmatch_lines(
        ["  skipped    a moon: only a sun  (tests: 2)", "  skipped    a sky: there are clouds  (tests: 1)"]
    )


def test_a_need_that_is_in_no_table_is_refused(pytester: pytest.Pytester) -> None:
    pytester.makeconftest((HERE / "conftest.py").read_text())
    pytester.makeini(INI)
    pytester.makepyfile("import pytest\n\n@pytest.mark.needs('a moon')\ndef test_x(): pass")
    done = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    done.stderr.fnmatch_lines(["*test_x needs a moon: not in tests/needs.py"])
