"""A + line that takes another domain's addresses is found whatever lines and domains there are (H-9)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mailhost.accounts.lint.assign import shadows

PREFIXES = st.lists(st.text("aB-", min_size=1, max_size=4), max_size=8)
LINES = st.lists(st.tuples(st.booleans(), st.text("aB-", max_size=5), st.integers(0, 9)), max_size=8)


@given(PREFIXES, LINES)
def test_every_line_and_domain_that_fit_are_found(prefixes: list[str], lines: list[tuple[bool, str, int]]) -> None:
    """By what the rule says, pair by pair; the rule itself looks only at those that fit."""
    virtual = [(f"d{number}.example", prefix, number) for number, prefix in enumerate(prefixes)]
    entries = [
        SimpleNamespace(
            entry=SimpleNamespace(wild=wild, address=address.encode()),
            address=address.lower().encode(),
            file=f"users/domains/d{owner}.example",
            number=number,
        )
        for number, (wild, address, owner) in enumerate(lines)
    ]
    facts: Any = SimpleNamespace(virtual=lambda: virtual, entries=entries)
    wanted = {
        (number, domain)
        for number, (wild, address, owner) in enumerate(lines)
        for domain, prefix, at in virtual
        if wild and f"{prefix}-".lower().startswith(address.lower())
        if prefix != (prefixes[owner] if owner < len(prefixes) else None)
    }
    found = [(one.line, one.text.split(" of ")[1].split()[0]) for one in shadows(facts)]
    assert (set(found), len(found)) == (wanted, len(wanted))
