"""Real qmail takes what we write: its qmail-newu accepts every generated users/assign and makes the same users/cdb."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.mailhost.cli.support import HOWTO_CRYPT, Host
from tests.parity.real import HOME, MARKS, privately

from mailhost.cli import main

pytestmark = MARKS
NEWU = f"{HOME}/bin/qmail-newu"
LOCALS = ["joe", "o'brien", "a.b", "x+y", "100%", "joe-lists", "a-b-", "{z}", "_u", "n=m", "postmaster", "!bang", "?q"]
HOSTS = ["domain.com", "a-b.net", "bücher.example", "x.y.z.org", "single", "xn--bcher-kva.com"]


def newu() -> bytes:
    """Run qmail's own program; the cdb it makes."""
    done = subprocess.run([NEWU], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return (HOME / "users/cdb").read_bytes()


def test_h12_h26_the_howtos_example_at_var_qmail() -> None:
    def work() -> tuple[str, str, bool]:
        host = Host(HOME)
        host.ok("init", "--me", "mail.example.net")
        host.ok("domain", "add", "domain.com")
        host.ok("mailbox", "add", "joe@domain.com", "--login", "testid", "--crypt", HOWTO_CRYPT)
        ours = (HOME / "users/cdb").read_bytes()
        return host.text("users/assign"), host.text("users/poppasswd"), ours == newu()

    assert privately(work) == (
        "=domain-com-joe:popuser:888:888:/var/qmail/popboxes/domain-com/joe:::\n.\n",
        "testid:DmIMm9e5Hc8ic:popuser:/var/qmail/popboxes/domain-com/joe\n",
        True,
    )


def declaration(chance: random.Random) -> str:
    """Any host of these names, as accounts.toml."""
    lines = []
    for domain in chance.sample(HOSTS, chance.randint(1, len(HOSTS))):
        boxes = chance.sample(LOCALS, chance.randint(0, 6))
        rest = [local for local in LOCALS if local not in boxes]
        lines.append(f'[domains."{domain}"]')
        lines += [f'catchall = "{boxes[0]}"'] if boxes and chance.random() < 0.5 else []
        for local in boxes:
            lines += [f'[domains."{domain}".mailboxes."{local}"]', f'crypt = "{HOWTO_CRYPT}"']
            lines += ["extensions = true"] if chance.random() < 0.5 else []
            lines += [f'aliases = ["{rest.pop()}"]'] if chance.random() < 0.3 else []
        lines.append(f'[domains."{domain}".forwards]')
        lines += [f'"{rest.pop()}" = ["x@elsewhere.example"]'] if chance.random() < 0.5 else []
    return "\n".join(lines)


def test_every_assign_we_generate_is_taken_and_gives_the_same_cdb() -> None:
    texts = [declaration(random.Random(seed)) for seed in range(40)]

    def work() -> list[str]:
        host = Host(HOME)
        host.ok("init", "--me", "mail.example.net")
        wrong = []
        for number, text in enumerate(texts):
            file = Path("/var/tmp/accounts.toml")
            file.write_text(text)
            host.ok("apply", str(file), "--yes")
            ours = (HOME / "users/cdb").read_bytes()
            if newu() != ours:
                wrong.append(f"{number}: {text}")
        return wrong

    assert privately(work) == []


def test_newu_option_runs_it() -> None:
    def work() -> bool:
        host = Host(HOME)
        host.ok("init", "--me", "mail.example.net", "--newu", NEWU)
        host.ok("domain", "add", "domain.com", "--newu", NEWU)
        host.ok("mailbox", "add", "joe@domain.com", "--crypt", HOWTO_CRYPT, "--newu", NEWU)
        by_it = (HOME / "users/cdb").read_bytes()
        host.ok("rebuild")
        return by_it == (HOME / "users/cdb").read_bytes()

    assert privately(work)


def test_newu_of_another_home_is_noticed(howto: Host) -> None:
    def work() -> tuple[int, str]:
        (HOME / "users/assign").write_text(".\n")
        done = CliRunner().invoke(main, ["--home", str(howto.home), "rebuild", "--newu", NEWU])
        return done.exit_code, done.stderr

    code, said = privately(work)
    assert code == 1
    assert "is it for another home?" in said


@pytest.mark.parametrize("bad", [b"", b"=a:b\n.\n", b"\n.\n"])
def test_the_comparison_itself_can_fail(bad: bytes) -> None:
    def work() -> int:
        (HOME / "users/assign").write_bytes(bad)
        return subprocess.run([NEWU], capture_output=True, check=False).returncode

    assert privately(work) == 111
