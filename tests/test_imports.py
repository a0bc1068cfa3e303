"""The import directions of the house, read from the import statements themselves."""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"mailhost": ROOT / "images/mailhost/mailhost", "popbox": ROOT / "harness/popbox"}
# For each room: which of our own rooms and modules it may import besides itself. The longest name that fits counts.
SYSTEM, QMAIL, POPPASSWD = "mailhost.system", "mailhost.qmail", "mailhost.poppasswd"
PROTOCOL, MAILDROP, AUTH = "mailhost.pop3.protocol", "mailhost.pop3.maildrop", "mailhost.pop3.auth"
POP3_OPTIONS = "mailhost.pop3.options"
ACCOUNTS = tuple(f"mailhost.accounts.{name}" for name in ("errors", "names", "layout", "model"))
FILES, CHANGE, OPERATIONS, SOURCES = (
    f"mailhost.accounts.{name}" for name in ("files", "change", "operations", "sources")
)
STANDIN = (
    "mailhost.standin.alarm",
    "mailhost.standin.header_fields",
    "mailhost.standin.interfaces",
    "mailhost.standin.log",
)
QUEUE, DELIVERY, SENDING, SMTP = (f"mailhost.standin.{name}" for name in ("queue", "delivery", "sending", "smtp"))
BASE = tuple(f"popbox.{name}" for name in ("environment", "errors", "printable", "reading", "replacing", "scratch"))
CLIENTS, SCENARIO, HOSTS = "popbox.clients", "popbox.scenario", "popbox.hosts"
JOURNEY, LEDGER, RESULT = "popbox.journey", "popbox.ledger", "popbox.result"
RUN, REPORT = "popbox.run", "popbox.report"
OLDHOST = "popbox.migrate.oldhost"
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    SYSTEM: (),
    QMAIL: (),
    POPPASSWD: (SYSTEM,),
    PROTOCOL: (),
    POP3_OPTIONS: (PROTOCOL,),
    MAILDROP: (PROTOCOL, SYSTEM),
    AUTH: (POPPASSWD, POP3_OPTIONS, PROTOCOL, SYSTEM),
    "mailhost.pop3.chain": (AUTH, MAILDROP, PROTOCOL, POP3_OPTIONS, POPPASSWD, SYSTEM),
    "mailhost.pop3.server": (AUTH, MAILDROP, PROTOCOL, POP3_OPTIONS, POPPASSWD, SYSTEM),
    "mailhost.pop3": (),
    **dict.fromkeys(ACCOUNTS, (*ACCOUNTS, SYSTEM)),
    FILES: (*ACCOUNTS, POPPASSWD, SYSTEM),
    CHANGE: (*ACCOUNTS, FILES, POPPASSWD, SYSTEM),
    OPERATIONS: (*ACCOUNTS, FILES, CHANGE, POPPASSWD, SYSTEM),
    SOURCES: (*ACCOUNTS, FILES, CHANGE, OPERATIONS, POPPASSWD, SYSTEM),
    "mailhost.accounts.lint": ("mailhost.accounts", QMAIL, POPPASSWD, SYSTEM),
    # apply, init, governed and the other modules on top of the rooms
    "mailhost.accounts": (FILES, CHANGE, OPERATIONS, SOURCES, POPPASSWD, SYSTEM),
    **dict.fromkeys(STANDIN, (*STANDIN, SYSTEM)),
    QUEUE: (*STANDIN, QMAIL, SYSTEM),
    DELIVERY: (*STANDIN, QUEUE, QMAIL, SYSTEM),
    SENDING: (*STANDIN, QUEUE, DELIVERY, QMAIL, SYSTEM),
    SMTP: (*STANDIN, QUEUE, DELIVERY, SENDING, QMAIL, SYSTEM),
    "mailhost.standin": (QMAIL, SYSTEM),
    "mailhost.cli": ("mailhost",),
    "mailhost": ("mailhost.cli",),
    **dict.fromkeys(BASE, BASE),
    "popbox.settings": BASE,
    SCENARIO: BASE,
    CLIENTS: BASE,
    HOSTS: (*BASE, "popbox.settings", CLIENTS, SCENARIO),
    JOURNEY: (*BASE, CLIENTS, HOSTS, SCENARIO),
    LEDGER: (*BASE, CLIENTS, HOSTS, JOURNEY, SCENARIO),
    RESULT: (LEDGER, SCENARIO),
    "popbox.message": (),
    RUN: (*BASE, CLIENTS, HOSTS, JOURNEY, LEDGER, "popbox.message", RESULT, SCENARIO),
    REPORT: (*BASE, LEDGER, RESULT, RUN, SCENARIO),
    "popbox.serve": (*BASE, CLIENTS, HOSTS, JOURNEY, LEDGER, "popbox.message", REPORT, RESULT, RUN, SCENARIO),
    "popbox.conformance": (*BASE, CLIENTS, "popbox.message"),
    "popbox.load.plan": (*BASE, CLIENTS, SCENARIO),
    "popbox.load.books": (*BASE, "popbox.load.plan"),
    "popbox.load.report": (*BASE, "popbox.load.books", "popbox.load.stage", REPORT),
    "popbox.load.users": (*BASE, CLIENTS, "popbox.load.books", "popbox.load.plan"),
    "popbox.load.stage": (*BASE, CLIENTS, HOSTS, JOURNEY, "popbox.load.books", "popbox.load.plan", "popbox.load.users"),
    "popbox.load": (),
    "popbox.operate": (*BASE, "popbox.settings", CLIENTS, HOSTS, LEDGER),
    "popbox.migrate.units": (),
    OLDHOST: (*BASE, HOSTS),
    "popbox.migrate.audit": (*BASE, OLDHOST, "popbox.migrate.units"),
    "popbox.migrate.copy": (*BASE, HOSTS, OLDHOST, "popbox.migrate.audit", "popbox.migrate.units"),
    "popbox.migrate.pop3": (*BASE, CLIENTS),
    "popbox.migrate.verify.files": (*BASE, OLDHOST, "popbox.migrate.pop3", "popbox.migrate.verify"),
    "popbox.migrate.routes": (*BASE, CLIENTS, HOSTS, OLDHOST),
    "popbox.migrate.verify": (*BASE, CLIENTS, "popbox.migrate.pop3"),
    "popbox.migrate.pop3source": (
        *BASE,
        CLIENTS,
        OLDHOST,
        "popbox.migrate.copy",
        "popbox.migrate.pop3",
        "popbox.migrate.units",
        "popbox.migrate.verify.digest",
    ),
    "popbox.migrate.export": (*BASE, OLDHOST, "popbox.migrate.copy", "popbox.migrate.verify.files"),
    "popbox.migrate.plan": (*BASE, CLIENTS, "popbox.migrate.copy", "popbox.migrate.verify", "popbox.migrate.units"),
    "popbox.migrate": (),
    "popbox": ("popbox",),  # the doors: cli, pytest_plugin, container, testing
}
MOST_MODULES = 18
READS_ENVIRONMENT = ("mailhost.cli", "popbox.cli", "popbox.pytest_plugin", "popbox.container")
# Checkpassword's interface is the environment: it is handed on to the program, with USER, HOME and SHELL set.
HANDS_ENVIRONMENT_ON = ("mailhost.pop3.chain",)
IMPORTS_CLICK = ("mailhost.cli", "popbox.cli")
IMPORTS_DOCKER = "popbox.hosts.docker"  # a package of that name, and nothing beside it
FRONT_DOORS = ("popbox.cli.main", "popbox.pytest_plugin", "popbox.container")  # __main__ is the cli itself


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


@cache
def nodes(tree: ast.Module) -> tuple[ast.AST, ...]:
    """All of a module's, walked once: most tests here look at each module."""
    return tuple(ast.walk(tree))


@cache
def imports(tree: ast.Module) -> set[str]:
    """Dotted names that a module imports, at any depth of its code."""
    names: set[str] = set()
    for node in nodes(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the direction"
            base = node.module or ""
            names |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names}
    return names


def programs(tree: ast.Module) -> list[ast.Module]:
    """The programs that a module holds in strings: what parses as Python and imports something of ours."""
    found = []
    for node in nodes(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "import" in node.value:
            with contextlib.suppress(SyntaxError, ValueError):
                found.append(ast.parse(node.value))
    return found


def within(name: str, part: str) -> bool:
    """Whether a module is that room or lies in it."""
    return name == part or name.startswith(f"{part}.")


def part_of(name: str) -> str:
    """The longest part of the table that a module belongs to."""
    return max((part for part in MAY_IMPORT if within(name, part)), key=len)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_what_its_part_may(name: str) -> None:
    part = part_of(name)
    ours = {one for one in imports(MODULES[name]) if one.split(".")[0] in PACKAGES}
    allowed = (*MAY_IMPORT[part], part)
    wrong = {one for one in ours if not any(within(one, may) for may in allowed)}
    assert not wrong, f"{name} ({part}) may import {allowed}, not {sorted(wrong)}"


@pytest.mark.parametrize("name", MODULES)
def test_no_program_in_a_string_imports_us(name: str) -> None:
    ours = {one for tree in programs(MODULES[name]) for one in imports(tree) if one.split(".")[0] in PACKAGES}
    assert not ours, f"{name} holds a program that imports {sorted(ours)}: make it a verb"


def test_the_check_sees_a_program_in_a_string() -> None:
    [program] = programs(ast.parse("PROGRAM = 'import sys\\nfrom mailhost.cli import main\\n'"))
    assert "mailhost.cli" in imports(program)


def test_only_serve_imports_the_web_framework() -> None:
    users = {
        name
        for name, tree in MODULES.items()
        if any(one.split(".")[0] in ("fastapi", "starlette", "uvicorn") for one in imports(tree))
    }
    assert users
    assert all(name.startswith("popbox.serve") for name in users), users


def test_only_the_docker_host_imports_docker() -> None:
    users = {
        name
        for name, tree in MODULES.items()
        if any(one.split(".")[0] in ("docker", "testcontainers") for one in imports(tree))
    }
    assert users
    assert all(f"{name}.".startswith(f"{IMPORTS_DOCKER}.") for name in users), users


def test_only_the_command_lines_import_click() -> None:
    users = {name for name, tree in MODULES.items() if any(within(one, "click") for one in imports(tree))}
    assert users
    assert all(any(within(name, door) for door in IMPORTS_CLICK) for name in users), users


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
        for node in nodes(MODULES[name])
    )
    allowed = any(within(name, door) for door in (*READS_ENVIRONMENT, *HANDS_ENVIRONMENT_ON))
    assert allowed or not reads, f"{name} reads the environment"


def test_there_are_no_import_cycles() -> None:
    graph = {name: {one for one in imports(tree) if one in MODULES and one != name} for name, tree in MODULES.items()}
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


@pytest.mark.parametrize("name", [name for name in MODULES if within(name, PROTOCOL)])
def test_the_protocol_does_no_io(name: str) -> None:
    assert not {one.split(".")[0] for one in imports(MODULES[name])} & {"os", "socket", "time", "select", "ssl"}


def test_no_folder_has_too_many_modules_and_each_says_what_it_is_for() -> None:
    for package in (*PACKAGES.values(), ROOT / "tests", ROOT / "images/qmail"):
        for folder in {path.parent for path in package.rglob("*.py")}:
            modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
            assert len(modules) <= MOST_MODULES, f"{folder} has {len(modules)} modules"
            if package in PACKAGES.values():
                assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text())), folder


def test_no_statement_numbers_its_parameters() -> None:
    """``?1`` with a sequence is an error of sqlite3 from Python 3.14 on; ``:name`` with a mapping says the same."""
    for name, tree in MODULES.items():
        texts = (one.value for one in nodes(tree) if isinstance(one, ast.Constant) and isinstance(one.value, str))
        assert not [text for text in texts if re.search(r"[=(,] ?\?[0-9]", text)], name
