"""The import directions of the house, read from the import statements themselves."""

from __future__ import annotations

import ast
import contextlib
import re
from dataclasses import dataclass
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


PATHS = {
    ".".join([package, *path.relative_to(folder).with_suffix("").parts]).removesuffix(".__init__"): path
    for package, folder in PACKAGES.items()
    for path in sorted(folder.rglob("*.py"))
}
"""Every module of ours, by dotted name."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the tests ask of a module. Its tree is not kept: all trees together slow down every later test."""

    imports: frozenset[str]  # dotted names, at any depth of its code; a relative one begins with a dot
    in_strings: frozenset[str]  # what the programs import that it holds in strings
    reads_environment: bool
    numbered: tuple[str, ...]  # statements that number their parameters
    by_locale: tuple[int, ...]  # lines where a file or a program's output is text in whatever encoding the locale has


def facts(tree: ast.Module) -> Facts:
    """In one walk."""
    names: set[str] = set()
    inner: set[str] = set()
    texts: list[str] = []
    reads = False
    by_locale: list[int] = []
    called: set[ast.expr] = set()  # a walk comes to a call before its function
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)):
                called.add(node.func)
                by_locale += [node.lineno] if _is_by_locale(node, name) else []
            case ast.Attribute(attr="read_text" | "write_text") if node not in called:
                by_locale.append(node.lineno)  # who is given it says no encoding
            case ast.Import():
                names |= {alias.name for alias in node.names}
            case ast.ImportFrom():
                base = "." * node.level + (node.module or "")
                names |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in PATHS else base for alias in node.names}
            case ast.Attribute(value=ast.Name(id="os"), attr="environ" | "environb" | "getenv"):
                reads = True
            case ast.Constant(value=str(text)):
                texts.append(text)
    for text in texts:
        if "import" in text:
            with contextlib.suppress(SyntaxError, ValueError):
                inner |= facts(ast.parse(text)).imports
    numbered = tuple(text for text in texts if re.search(r"[=(,] ?\?[0-9]", text))
    return Facts(frozenset(names), frozenset(inner), reads, numbered, tuple(by_locale))


def _is_by_locale(call: ast.Call, name: str) -> bool:
    """Whether a call opens, reads or writes text and does not say its encoding; our own standard streams may."""
    said = {one.arg for one in call.keywords}
    modes = [one.value for one in (*call.args, *(key.value for key in call.keywords)) if isinstance(one, ast.Constant)]
    if "encoding" in said or (name == "fdopen" and modes and modes[0] in (0, 1, 2)):
        return False
    match name:
        case "read_text" | "write_text":
            return len(call.args) == (name == "write_text")
        case "open" | "fdopen":
            is_text = any(one in ("r", "w", "a", "x", "w+") for one in modes)
            return is_text or (isinstance(call.func, ast.Name) and not any("b" in str(one) for one in modes))
        case "run" | "Popen" | "check_output":
            return bool(said & {"text", "universal_newlines"})
        case _:
            return False


@pytest.fixture(scope="module")
def modules() -> dict[str, Facts]:
    """All of ours, read once: a module's tests stay in one process where it has such a fixture (spread.py)."""
    return {name: facts(ast.parse(path.read_bytes(), str(path))) for name, path in PATHS.items()}


def users(modules: dict[str, Facts], *packages: str) -> set[str]:
    """The modules that import one of these packages; there are some, or nothing was read."""
    found = {name for name, one in modules.items() if {name.split(".")[0] for name in one.imports} & {*packages}}
    assert found
    return found


def ours(names: frozenset[str]) -> set[str]:
    """Of imported names those of our packages."""
    return {name for name in names if name.split(".")[0] in PACKAGES}


def within(name: str, part: str) -> bool:
    """Whether a module is that room or lies in it."""
    return name == part or name.startswith(f"{part}.")


def part_of(name: str) -> str:
    """The longest part of the table that a module belongs to."""
    return max((part for part in MAY_IMPORT if within(name, part)), key=len)


def test_a_module_imports_only_what_its_part_may(modules: dict[str, Facts]) -> None:
    wrong = [
        f"{name} ({part}) may import {allowed}, not {imported}"
        for name, one in modules.items()
        for part in [part_of(name)]
        for allowed in [(*MAY_IMPORT[part], part)]
        for imported in sorted(ours(one.imports))
        if not any(within(imported, may) for may in allowed)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_import_is_relative(modules: dict[str, Facts]) -> None:
    """It would hide the direction."""
    assert not [name for name, one in modules.items() for imported in one.imports if imported.startswith(".")]
    assert facts(ast.parse("from . import names")).imports == {"."}


def test_no_program_in_a_string_imports_us(modules: dict[str, Facts]) -> None:
    wrong = {name: ours(one.in_strings) for name, one in modules.items() if ours(one.in_strings)}
    assert not wrong, "these hold a program that imports what is ours: make it a verb"


def test_the_check_sees_a_program_in_a_string() -> None:
    found = facts(ast.parse("PROGRAM = 'import sys\\nfrom mailhost.cli import main\\n'"))
    assert "mailhost.cli" in found.in_strings
    assert not found.imports


def test_only_serve_imports_the_web_framework(modules: dict[str, Facts]) -> None:
    found = users(modules, "fastapi", "starlette", "uvicorn")
    assert all(name.startswith("popbox.serve") for name in found), found


def test_only_the_docker_host_imports_docker(modules: dict[str, Facts]) -> None:
    found = users(modules, "docker", "testcontainers")
    assert all(within(name, IMPORTS_DOCKER) for name in found), found


def test_only_the_command_lines_import_click(modules: dict[str, Facts]) -> None:
    found = users(modules, "click")
    assert all(any(within(name, door) for door in IMPORTS_CLICK) for name in found), found


def test_nothing_imports_the_front_doors(modules: dict[str, Facts]) -> None:
    found = {name for name, one in modules.items() if one.imports & {*FRONT_DOORS}}
    assert found == {"popbox.__main__"}


def test_only_the_front_doors_read_the_environment(modules: dict[str, Facts]) -> None:
    found = {name for name, one in modules.items() if one.reads_environment}
    assert found
    assert all(any(within(name, door) for door in (*READS_ENVIRONMENT, *HANDS_ENVIRONMENT_ON)) for name in found), found


def test_there_are_no_import_cycles(modules: dict[str, Facts]) -> None:
    graph = {
        name: {after for after in one.imports if after in PATHS and after != name} for name, one in modules.items()
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
    found = facts(ast.parse("def f():\n    from mailhost.qmail import control\n"))
    assert found.imports & {"mailhost.qmail", "mailhost.qmail.control"}


def test_the_protocol_does_no_io(modules: dict[str, Facts]) -> None:
    found = users(modules, "os", "socket", "time", "select", "ssl")
    assert not [name for name in found if within(name, PROTOCOL)]


def test_no_folder_has_too_many_modules_and_each_says_what_it_is_for() -> None:
    for package in (*PACKAGES.values(), ROOT / "tests", ROOT / "images/qmail"):
        for folder in {path.parent for path in package.rglob("*.py")}:
            modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
            assert len(modules) <= MOST_MODULES, f"{folder} has {len(modules)} modules"
            if package in PACKAGES.values():
                assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text())), folder


def test_no_statement_numbers_its_parameters(modules: dict[str, Facts]) -> None:
    """``?1`` with a sequence is an error of sqlite3 from Python 3.14 on; ``:name`` with a mapping says the same."""
    assert not [name for name, one in modules.items() if one.numbered]
    assert facts(ast.parse("SQL = 'SELECT x FROM t WHERE y = ?1'")).numbered


def test_no_text_depends_on_the_locale(modules: dict[str, Facts]) -> None:
    """In a Latin-1 locale no report of a load run could be written, for its check marks, when the run was over."""
    assert [(name, one.by_locale) for name, one in modules.items() if one.by_locale] == []
    calls = [
        "p.read_text()",
        "p.write_text(x)",
        "p.open('w')",
        "open(p)",
        "os.fdopen(n, 'w')",
        "run(x, text=True)",
        "f = p.read_text",
    ]
    assert facts(ast.parse("\n".join(calls))).by_locale == tuple(range(1, len(calls) + 1))
    said = [
        "p.read_text('utf-8')",
        "p.open('wb')",
        "os.open(p, 0)",
        "place.open()",
        "os.fdopen(1, 'w')",
        "zip.open('a.txt')",
    ]
    assert facts(ast.parse("\n".join(said))).by_locale == ()
