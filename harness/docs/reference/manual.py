"""The man pages, as Markdown: popbox(1), mailhost(8), the three programs of the chain, accounts.toml(5)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from docs.reference.commands import sections
from docs.reference.markdown import block, chapter, code, escaped, item
from docs.reference.schemas import Tables

ROOT = Path(__file__).resolve().parents[3]
CHAIN = "images/mailhost/mailhost/pop3/README.md"
VARIABLES = {  # what compose.yaml reads stands in images/README.md
    "popbox": {
        "QMAIL_BASE": "The image with `/var/qmail` on which the image with real qmail is built.",
        "POPBOX_TOKEN": "With `--allow-writes`: the token of writes over HTTP.",
        "XDG_STATE_HOME": "Where popbox remembers the hosts that are up, an absolute path. Default: `~/.local/state`.",
    },
    "mailhost": {"MAILHOST_HOME": "The qmail home, where `--home` is not given."},
}


@dataclass(frozen=True, slots=True)
class Manual:
    """A man page: ``name`` and ``section`` as in mailhost(8), ``does`` in a few words, ``body`` as Markdown."""

    name: str
    section: int
    does: str
    body: Callable[[], str]

    @property
    def path(self) -> str:
        """Of the page on the site."""
        return f"harness/docs/reference/{self.name}.{self.section}.md"

    def markdown(self) -> str:
        """The page as a manual has it, without its title."""
        return f"## Name\n\n{self.name} - {self.does}\n\n{self.body()}\n"


def popbox() -> str:
    """The harness's commands."""
    from popbox.cli.main import cli

    codes = re.search(r"^Exit codes of `popbox`: (.*)\.$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    if codes is None:
        raise ValueError("README.md has no line with the exit codes of popbox")
    return "\n\n".join(
        [
            f"## Synopsis\n\n{block('popbox COMMAND [OPTION]... [ARGUMENT]...')}",
            f"## Description\n\n{escaped(cli.help or '')}",
            f"## Commands\n\n{sections(cli, 'popbox')}",
            f"## Exit status\n\n{_codes(codes[1])}",
            f"## Environment\n\n{_variables('popbox')}",
            "## See also\n\nmailhost(8), accounts.toml(5)",
        ]
    )


def mailhost() -> str:
    """The commands of the mail host."""
    import mailhost.cli
    from mailhost.cli import main

    codes = re.search(r"Exit codes: (.*)\.", " ".join((mailhost.cli.__doc__ or "").split()))
    if codes is None:
        raise ValueError("mailhost.cli does not say its exit codes")
    return "\n\n".join(
        [
            f"## Synopsis\n\n{block('mailhost [--home DIR] VERB [OPTION]... [ARGUMENT]...')}",
            f"## Description\n\n{escaped(main.help or '')}",
            f"## Commands\n\n{sections(main, 'mailhost')}",
            f"## Exit status\n\n{_codes(codes[1])}",
            f"## Environment\n\n{_variables('mailhost')}",
            "## See also\n\naccounts.toml(5), popup(8), checkpoppasswd(8), pop3d(8), popbox(1)",
        ]
    )


def accounts_toml() -> str:
    """The file that declares a host."""
    from mailhost.accounts.sources import accounts_toml
    from mailhost.accounts.sources.accounts_schema import accounts_schema

    schema = accounts_schema()
    example = (accounts_toml.__doc__ or "").partition("\n")[2]
    return "\n\n".join(
        [
            f"## Synopsis\n\n{block('mailhost apply FILE.toml')}",
            f"## Description\n\n{escaped(schema['description'])} It is TOML in UTF-8. An unknown key is an error.",
            f"## Keys\n\n{Tables(schema, toml=True).sections()}",
            f"## Example\n\n{block(example.strip())}",
            "## See also\n\nmailhost(8)",
        ]
    )


def of_chain(name: str) -> Callable[[], str]:
    """A program of the chain: what its README says of it."""

    def body() -> str:
        synopsis, _, text = chapter((ROOT / CHAIN).read_text("utf-8"), f"## {name}").partition("\n\n")
        if not all(line.startswith("    ") for line in synopsis.splitlines()):
            raise ValueError(f"{CHAIN}: {name} does not begin with its synopsis")
        others = ", ".join(f"{other}(8)" for other in ("mailhost", "popup", "checkpoppasswd", "pop3d") if other != name)
        return f"## Synopsis\n\n{synopsis}\n\n## Description\n\n{text}\n\n## See also\n\n{others}"

    return body


MANUALS = (
    Manual("popbox", 1, "end-to-end test harness for a single-uid qmail POP3 host", popbox),
    Manual("mailhost", 8, "declare, explain and serve the accounts of a single-uid qmail POP3 host", mailhost),
    Manual("popup", 8, "greet a POP3 client, take login and password, run a checkpassword", of_chain("popup")),
    Manual("checkpoppasswd", 8, "check a login in users/poppasswd and become its user", of_chain("checkpoppasswd")),
    Manual("pop3d", 8, "serve one Maildir by POP3 on descriptors 0 and 1", of_chain("pop3d")),
    Manual("accounts.toml", 5, "the domains, mailboxes and forwards of a mail host", accounts_toml),
)


def _codes(text: str) -> str:
    """``0 passed, 1 failed`` as a list."""
    codes = re.findall(r"(\d+) (.*?)(?:, (?=\d)|$)", text)
    return "\n".join(item(number, escaped(what)) for number, what in codes)


def _variables(program: str) -> str:
    return "\n".join(f"- {code(name)}: {what}" for name, what in VARIABLES[program].items())
