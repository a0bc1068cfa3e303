"""Virtual domains that no line of users/assign takes: their addresses are files of a user or of ~alias (Q-GETPW-2)."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.popbox.migrate.oldhosts import HOSTS, QMAIL, audited, put


@pytest.mark.parametrize(
    ("prefix", "folder", "base"),
    [
        ("ann", "home/ann", ".qmail-"),
        ("ann-foo", "home/ann", ".qmail-foo-"),
        ("ann-foo.bar", "home/ann", ".qmail-foo:bar-"),
        ("ann-", "home/ann", ".qmail--"),
        ("alias-list", f"{QMAIL}/alias", ".qmail-list-"),
        ("nobody-here", f"{QMAIL}/alias", ".qmail-nobody-here-"),
    ],
)
@pytest.mark.parametrize("dialect", ["system", "howto"])
def test_its_addresses_arrive(dialect: str, prefix: str, folder: str, base: str, tmp_path: Path) -> None:
    root = HOSTS[dialect](tmp_path)
    if dialect == "howto":
        put(root / "etc/passwd", "popuser:x:888:888::/:/x\nann:x:1000:1000::/home/ann:/bin/sh\n")
        (root / "home/ann").mkdir(parents=True)
    for file, line in (("virtualdomains", f"nowhere.mil:{prefix}\n"), ("rcpthosts", "nowhere.mil\n")):
        with (root / QMAIL / "control" / file).open("a") as out:
            out.write(line)
    put(root / folder / f"{base}info", "&x@elsewhere.example\n")
    put(root / folder / f"{base}a:b", "&y@elsewhere.example\n")
    put(root / folder / f"{base}default", "&z@elsewhere.example\n")
    found = audited(root, dialect)
    entry = found.accounts.domains["nowhere.mil"]
    assert entry.forwards == {
        "info": ["x@elsewhere.example"],
        "a.b": ["y@elsewhere.example"],
        "catchall": ["z@elsewhere.example"],
    }
    assert entry.catchall == "catchall"
    assert "domain-no-address" not in {finding.rule for finding in found.findings}
