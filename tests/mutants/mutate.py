"""Mutation testing of the files where a wrong line costs most: ``make mutants`` (nightly), nice 10, bounded in time.

Each mutant is one change of a file's syntax tree in a copy of its package; the tests that the table names run on the
copy. One that passes them all survived: a test is missing, or no one could see the difference. ``targets.toml`` names
files, tests, and the survivors that are known, with the reason; a new survivor ends the run with 1.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import contextlib
import copy
import importlib.util
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import click  # noqa: F401 - loaded once, for all the forks
import cryptography.x509  # noqa: F401
import hypothesis  # noqa: F401
import pydantic  # noqa: F401
import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"mailhost": ROOT / "images/mailhost/mailhost", "popbox": ROOT / "harness/popbox"}
LEAST_S, TIMES = 30.0, 5.0  # a mutant that takes so many times what the sound file takes hangs: it is caught
Change = Callable[[ast.AST], None]
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.And: ast.Or, ast.Or: ast.And, ast.Add: ast.Sub, ast.Sub: ast.Add,
}  # fmt: skip


@dataclass(frozen=True)
class Target:
    """A file (``mailhost/pop3/auth/throttle.py``), its tests, and known survivors: the mutant's name -> the reason."""

    file: str
    tests: tuple[str, ...]
    survivors: dict[str, str] = field(default_factory=dict)

    @property
    def package(self) -> str:
        """The package's name."""
        return self.file.partition("/")[0]

    @property
    def source(self) -> str:
        """The sound text."""
        return (PACKAGES[self.package] / self.file.partition("/")[2]).read_text("utf-8")


@dataclass(frozen=True)
class Mutant:
    """``name`` says what was changed, without a line number, so that it stays when lines move."""

    name: str
    line: int
    text: str


def targets() -> list[Target]:
    """The table."""
    table = tomllib.loads(Path(__file__).with_name("targets.toml").read_text("utf-8"))["target"]
    return [Target(row["file"], tuple(row["tests"]), row.get("survivors", {})) for row in table]


def mutants(source: str) -> list[Mutant]:
    """Every change, in the order of the file; equal names get a number."""
    tree, found, seen = ast.parse(source), list[Mutant](), dict[str, int]()
    nodes = list(ast.walk(tree))
    inside = {id(node): where.name for where in nodes if isinstance(where, ast.FunctionDef) for node in ast.walk(where)}
    for index, node in enumerate(nodes):
        for change, what in _changes(node):
            name = f"{inside.get(id(node), 'module')}: {what}"
            seen[name] = seen.get(name, 0) + 1
            name += f" ({seen[name]})" if seen[name] > 1 else ""
            changed = copy.deepcopy(tree)
            change(list(ast.walk(changed))[index])
            found.append(Mutant(name, getattr(node, "lineno", 0), ast.unparse(ast.fix_missing_locations(changed))))
    return sorted(found, key=lambda one: one.line)


def _changes(node: ast.AST) -> Iterator[tuple[Change, str]]:
    """What can be changed of one node, and how that is called."""
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            yield partial(_swap_compare, place, SWAPS[type(operator)]), f"swap {ast.unparse(node)}"
    elif isinstance(node, ast.BoolOp) or (isinstance(node, ast.BinOp) and type(node.op) in SWAPS):
        yield partial(_put, "op", SWAPS[type(node.op)]()), f"swap {ast.unparse(node)}"
    elif isinstance(node, ast.If | ast.IfExp) and ast.unparse(node.test) != "TYPE_CHECKING":
        for value in (True, False):
            yield partial(_put, "test", ast.Constant(value)), f"if {value}, not {ast.unparse(node.test)}"
    elif isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
        yield partial(_put, "value", ast.Constant(None)), f"return None, not {ast.unparse(node.value)}"
    elif isinstance(node, ast.Constant) and isinstance(node.value, int) and not isinstance(node.value, bool):
        yield partial(_put, "value", node.value + 1), f"{node.value} + 1"
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield partial(_put, "value", ast.Constant(None)), f"no {ast.unparse(node.value)}"
    elif isinstance(node, ast.Raise) and node.exc is not None:
        yield partial(_put, "exc", ast.Name("SystemError", ast.Load())), f"raise else: {ast.unparse(node)}"


def _put(name: str, value: object, node: ast.AST) -> None:
    setattr(node, name, value)


def _swap_compare(place: int, operator: type[ast.AST], node: ast.AST) -> None:
    assert isinstance(node, ast.Compare)
    node.ops[place] = operator()  # type: ignore[call-overload]


class Bench:
    """A copy of a target's package, in which its file is changed and its tests run.

    Each run is a fork of this process, which has pytest and the libraries loaded already, and the unchanged modules of
    the copy are compiled once: that is most of the time of a quick test.
    """

    def __init__(self, target: Target, place: Path) -> None:
        """Copy; popuser may read it."""
        self.target, self.place = target, place
        shutil.copytree(PACKAGES[target.package], place / target.package, ignore=shutil.ignore_patterns("__pycache__"))
        compileall.compile_dir(place / target.package, quiet=2)
        Path(importlib.util.cache_from_source(str(place / target.file))).unlink()
        for path in (place, place.parent):
            path.chmod(0o755)

    def passes(self, text: str, within_s: float) -> bool:
        """Whether the tests pass with that text in the file's place."""
        (self.place / self.target.file).write_text(text, "utf-8")
        child = os.fork()
        if child == 0:
            self._test()
        ended = os.pidfd_open(child)
        try:
            if not select.select([ended], [], [], within_s)[0]:
                return False
            return os.waitid(os.P_PIDFD, ended, os.WEXITED | os.WNOWAIT).si_status == 0  # type: ignore[union-attr]
        finally:
            signal.pidfd_send_signal(ended, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)  # also what its tests have left running
            os.waitpid(child, 0)
            os.close(ended)

    def _test(self) -> None:
        """In the child: run the tests on the copy, and end."""
        code = 70
        try:
            os.setsid()
            os.chdir(ROOT)
            nothing = os.open(os.devnull, os.O_RDWR)
            for descriptor in range(3):
                os.dup2(nothing, descriptor)
            os.environ |= {"PYTHONPATH": str(self.place), "PYTHONDONTWRITEBYTECODE": "1"}
            sys.dont_write_bytecode = True
            sys.path[:0] = [str(self.place)]
            code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *self.target.tests])
        finally:
            os._exit(code)


def run(target: Target, until: float, chance: random.Random, named: str = "") -> tuple[int, int, list[Mutant]]:
    """Try mutants in a random order until the monotonic time ``until``: how many there are, were tried, survived."""
    found = [mutant for mutant in mutants(target.source) if named in mutant.name]
    chance.shuffle(found)
    with tempfile.TemporaryDirectory(prefix="popbox-mutants-") as place:
        bench = Bench(target, Path(place) / "package")
        began = time.monotonic()
        if not bench.passes(ast.unparse(ast.parse(target.source)), 600):
            raise SystemExit(f"{target.file}: {' '.join(target.tests)} fail without any change")
        within_s = max(LEAST_S, TIMES * (time.monotonic() - began))
        tried, survived = 0, list[Mutant]()
        for mutant in found:
            if time.monotonic() >= until:
                break
            tried += 1
            if bench.passes(mutant.text, within_s):
                survived.append(mutant)
                print(f"  {target.file}:{mutant.line}: {mutant.name}", flush=True)
    return len(found), tried, survived


def main() -> int:
    """Each target gets its share of the time; what is new among the survivors ends with 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--only", default="", help="a part of the file's name")
    parser.add_argument("--named", default="", help="a part of the mutant's name")
    parser.add_argument("--seed", type=int, default=int(time.time() // 86400), help="another order each day")
    options = parser.parse_args()
    os.nice(10)
    wanted = [target for target in targets() if options.only in target.file]
    end, new = time.monotonic() + 60 * options.minutes, list[str]()
    for number, target in enumerate(wanted):
        until = time.monotonic() + (end - time.monotonic()) / (len(wanted) - number)
        there, tried, survived = run(target, until, random.Random(options.seed), options.named)
        unknown = [mutant for mutant in survived if mutant.name not in target.survivors]
        new += [f"{target.file}:{mutant.line}: {mutant.name}" for mutant in unknown]
        gone = target.survivors.keys() - {mutant.name for mutant in mutants(target.source)}
        new += [f"{target.file}: {name}: in targets.toml, and no mutant is called so now" for name in sorted(gone)]
        print(f"{target.file}: {there} mutants, {tried} tried, {len(survived)} survived, {len(unknown)} of them new")
    print("\n".join(["new survivors:", *new]) if new else "no new survivor")
    return 1 if new else 0


if __name__ == "__main__":
    sys.exit(main())
