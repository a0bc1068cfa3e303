"""The import directions of the house, read from the import statements themselves."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"mailhost": ROOT / "images/mailhost/mailhost", "popbox": ROOT / "harness/popbox"}
PROGRAMS = ("popup", "checkpoppasswd", "pop3d")

# For each part: which of our own modules it may import besides itself.
MAY_IMPORT = {
    "mailhost.system": (),
    "mailhost.qmail": (),
    "mailhost.standin": ("mailhost.qmail", "mailhost.system"),
    "mailhost.pop3": ("mailhost.accounts.poppasswd", "mailhost.system"),
    "mailhost.accounts": ("mailhost.system",),
    "mailhost.accounts.lint": ("mailhost.accounts", "mailhost.qmail", "mailhost.system"),
    "mailhost.cli": ("mailhost",),
    "mailhost": ("mailhost.cli",),
    "popbox": ("popbox",),
}
READS_ENVIRONMENT = ("mailhost.cli", "popbox.cli", "popbox.pytest_plugin", "popbox.container")
# Checkpassword's interface is the environment: it is handed on to the program, with USER, HOME and SHELL set.
HANDS_ENVIRONMENT_ON = tuple(f"mailhost.pop3.{program}" for program in PROGRAMS)
IMPORTS_DOCKER = "popbox.hosts.docker"  # a package of that name, and nothing beside it
FRONT_DOORS = ("popbox.cli", "popbox.pytest_plugin", "popbox.container")  # __main__ is the cli itself


class Modules(Mapping[str, ast.Module]):
    """Every module of ours by dotted name; parsed when it is asked for, not in each process that collects tests."""

    def __init__(self) -> None:
        self._paths: dict[str, Path] = {}
        self._parsed: dict[str, ast.Module] = {}
        for package, folder in PACKAGES.items():
            for path in sorted(folder.rglob("*.py")):
                name = ".".join([package, *path.relative_to(folder).with_suffix("").parts]).removesuffix(".__init__")
                self._paths[name] = path

    def __getitem__(self, name: str) -> ast.Module:
        if name not in self._parsed:
            path = self._paths[name]
            self._parsed[name] = ast.parse(path.read_text(), str(path))
        return self._parsed[name]

    def __contains__(self, name: object) -> bool:
        return name in self._paths

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


MODULES = Modules()


def imports(tree: ast.Module) -> set[str]:
    """Dotted names that a module imports, at any depth of its code."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the direction"
            base = node.module or ""
            names |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names}
    return names


def runtime_imports(tree: ast.Module) -> set[str]:
    """The same, without what stands under ``if TYPE_CHECKING:``, which never runs."""
    kept = [node for node in tree.body if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")]
    return imports(ast.Module(body=kept, type_ignores=[]))


def within(name: str, part: str) -> bool:
    """Whether a module is that part or lies below it; ``lint`` also covers ``lint_*``."""
    return name == part or name.startswith((f"{part}.", f"{part}_"))


def part_of(name: str) -> str:
    """The longest part of the table that a module belongs to."""
    return max((part for part in MAY_IMPORT if within(name, part)), key=len)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_what_its_part_may(name: str) -> None:
    part = part_of(name)
    ours = {one for one in imports(MODULES[name]) if one.split(".")[0] in PACKAGES}
    if part in ("mailhost.accounts.lint", "mailhost.accounts"):
        allowed: tuple[str, ...] = (*MAY_IMPORT[part], "mailhost.accounts")
    else:
        allowed = (*MAY_IMPORT[part], part)
    wrong = {one for one in ours if not any(within(one, may) for may in allowed)}
    assert not wrong, f"{name} ({part}) may import {allowed}, not {sorted(wrong)}"


def test_only_lint_among_accounts_imports_the_readers() -> None:
    writers = [name for name in MODULES if part_of(name) == "mailhost.accounts"]
    assert writers
    for name in writers:
        reads = {
            one
            for one in imports(MODULES[name])
            if within(one, "mailhost.qmail") or within(one, "mailhost.accounts.lint")
        }
        assert not reads, f"{name} writes files and must not see {sorted(reads)}"


def test_only_the_docker_host_imports_docker() -> None:
    users = {
        name
        for name, tree in MODULES.items()
        if any(one.split(".")[0] in ("docker", "testcontainers") for one in imports(tree))
    }
    assert users
    assert all(f"{name}.".startswith(f"{IMPORTS_DOCKER}.") for name in users), users


def test_nothing_imports_the_front_doors() -> None:
    for name, tree in MODULES.items():
        assert name == "popbox.__main__" or not imports(tree) & set(FRONT_DOORS), name


@pytest.mark.parametrize("name", MODULES)
def test_only_the_front_doors_read_the_environment(name: str) -> None:
    reads = any(
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        and node.attr in ("environ", "environb", "getenv")
        for node in ast.walk(MODULES[name])
    )
    allowed = any(within(name, door) for door in (*READS_ENVIRONMENT, *HANDS_ENVIRONMENT_ON))
    assert allowed or not reads, f"{name} reads the environment"


def test_there_are_no_import_cycles() -> None:
    graph = {
        name: {one for one in runtime_imports(tree) if one in MODULES and one != name} for name, tree in MODULES.items()
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            for after in sorted(graph[name]):
                visit(after, (*path, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


def test_the_check_sees_an_import_inside_a_function() -> None:
    tree = ast.parse("def f():\n    from mailhost.qmail import control\n")
    assert imports(tree) & {"mailhost.qmail", "mailhost.qmail.control"}
