"""What ``plan`` says of DNS: each rule by a zone with that one fault, and nothing good of what was not answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from tests.popbox.migrate.plan.name_server import Records, name_server

from popbox.cli.migrate import migrate
from popbox.migrate.plan.preflight import dns_reader
from popbox.migrate.plan.preflight.dns_reader import DnsReader
from popbox.migrate.plan.preflight.judge import Preflight, look
from popbox.migrate.plan.preflight.rules import RULES

OLD, NEW, DOMAIN = "old.example", "new.example", "domain.example"
SOUND: Records = {
    (OLD, "A"): (300, ["192.0.2.1"]),
    (NEW, "A"): (300, ["192.0.2.7"]),
    ("7.2.0.192.in-addr.arpa", "PTR"): (300, ["new.example."]),
    (DOMAIN, "MX"): (300, ["10 old.example."]),
    (DOMAIN, "TXT"): (300, ['"v=spf1 mx -all"', '"another text"']),
    (DOMAIN, "SOA"): (900, ["ns.example. root.example. 1 2 3 4 600"]),
    ("mail.example", "A"): (300, ["192.0.2.99"]),
}
OTHERS = {"not-known", "ttl-of-a-cache"}  # tested apart from the table


def looked(records: Records, **server: Any) -> Preflight:
    with name_server(records, **server) as at:
        return look(DnsReader(at), OLD, NEW, [DOMAIN])


def rules(found: Preflight) -> set[str]:
    return {remark.rule for remark in found.remarks}


def without(*names: tuple[str, str]) -> Records:
    return {key: value for key, value in SOUND.items() if key not in names}


FAULTS: dict[str, Records] = {
    "mx-none": {**without((DOMAIN, "MX")), (DOMAIN, "A"): (300, ["192.0.2.1"])},
    "mx-null": {**SOUND, (DOMAIN, "MX"): (300, ["0 ."])},
    "mx-null-among-others": {**SOUND, (DOMAIN, "MX"): (300, ["0 .", "10 old.example."])},
    "mx-literal": {**SOUND, (DOMAIN, "MX"): (300, ["10 192.0.2.1."])},
    "mx-alias": {**SOUND, (DOMAIN, "MX"): (300, ["10 a.example."]), ("a.example", "CNAME"): (300, ["old.example."])},
    "mx-no-address": {**SOUND, (DOMAIN, "MX"): (300, ["10 old.example.", "20 gone.example."])},
    "mx-elsewhere": {**SOUND, (DOMAIN, "MX"): (300, ["10 old.example.", "20 mail.example."])},
    "mx-new-already": {**SOUND, (DOMAIN, "MX"): (300, ["10 new.example."])},
    "host-no-address": without((OLD, "A")),
    "same-address": {**SOUND, (OLD, "A"): (300, ["192.0.2.7"])},
    "ptr-none": without(("7.2.0.192.in-addr.arpa", "PTR")),
    "ptr-not-back": {**SOUND, ("7.2.0.192.in-addr.arpa", "PTR"): (300, ["old.example."])},
    "spf-twice": {**SOUND, (DOMAIN, "TXT"): (300, ['"v=spf1 mx -all"', '"v=spf1 a -all"'])},
    "spf-without-new": {**SOUND, (DOMAIN, "TXT"): (300, ['"v=spf1 ip4:192.0.2.1 " "a:old.example -all"'])},
    "spf-not-followed": {**SOUND, (DOMAIN, "TXT"): (300, ['"v=spf1 include:spf.example -all"'])},
    "ttl-long": {**SOUND, (DOMAIN, "MX"): (86_400, ["10 old.example."])},
}
BESIDE = {"same-address": {"mx-new-already"}, "host-no-address": {"mx-no-address"}}  # what follows from the fault


def test_each_rule_has_a_fault_here() -> None:
    of_smtp = {rule for rule in RULES if rule.startswith(("starttls", "tls", "cert", "smtp"))}  # test_starttls.py
    assert FAULTS.keys() | OTHERS | of_smtp == RULES.keys()


def test_a_sound_zone_has_no_remark() -> None:
    found = looked(SOUND)
    assert found.remarks == []
    assert found.complete
    assert found.longest is not None
    assert found.longest.ttl_s == 300
    assert found.negative == [f"{DOMAIN}: a missing name stays missing for 600 s in resolvers"]
    assert "domain.example MX: 10 old.example., TTL 300 s" in found.facts


@pytest.mark.parametrize("rule", FAULTS)
def test_one_fault_gives_its_rule_and_no_other(rule: str) -> None:
    found = rules(looked(FAULTS[rule]))
    assert rule in found
    assert found <= {rule} | BESIDE.get(rule, set())


@pytest.mark.parametrize(
    ("record", "named"),
    [
        ("v=spf1 ip4:192.0.2.0/29 -all", True),
        ("v=spf1 a:new.example -all", True),
        ("v=spf1 +all", True),
        ("v=spf1 -ip4:192.0.2.7 +all", False),
        ("v=spf1 ip6:2001:db8::/32 ?all", False),
        ("v=spf1 a:mail.example ~all", False),
        ("V=SPF1 MX:domain.example ~all", True),
    ],
)
def test_what_spf_names(record: str, named: bool) -> None:
    found = rules(looked({**SOUND, (DOMAIN, "TXT"): (300, [f'"{record}"'])}))
    assert found == (set() if named else {"spf-without-new"})


def test_an_mx_of_another_domain_in_spf_is_not_followed() -> None:
    assert rules(looked({**SOUND, (DOMAIN, "TXT"): (300, ['"v=spf1 mx:other.example -all"'])})) == {"spf-not-followed"}


@pytest.mark.parametrize("broken", [OLD, NEW, DOMAIN, "7.2.0.192.in-addr.arpa"])
def test_what_is_not_answered_is_not_known(broken: str) -> None:
    found = looked(SOUND, broken=frozenset({broken}))
    assert rules(found) == {"not-known"}, "and no other rule, which would claim that it knows"
    assert not found.complete
    assert any(line.endswith("not known") for line in found.facts)


def test_no_resolver_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_reader, "ANSWER_S", 0.2)
    with name_server({}) as at:
        pass  # its port is closed by now
    found = look(DnsReader(at), OLD, NEW, [DOMAIN])
    assert rules(found) == {"not-known"}
    assert found.longest is None


def test_the_ttl_is_asked_of_the_zones_own_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache shows what is left of it: 17 s, where the zone says a day."""
    of_cache: Records = {
        **{key: (17, texts) for key, (_, texts) in SOUND.items()},
        (DOMAIN, "NS"): (17, ["ns.example."]),
        (OLD, "SOA"): (17, ["ns.example. root.example. 1 2 3 4 600"]),
        (OLD, "NS"): (17, ["ns.example."]),
        ("ns.example", "A"): (17, ["127.0.0.1"]),
    }
    with name_server({**SOUND, (DOMAIN, "MX"): (86_400, ["10 old.example."])}) as zone:
        monkeypatch.setattr(dns_reader, "AUTHORITY_PORT", zone[1])
        found = looked(of_cache, authoritative=False)
    assert found.longest == (DOMAIN, "MX", 86_400, True)
    monkeypatch.setattr(dns_reader, "AUTHORITY_S", 0.2)
    found = looked(of_cache, authoritative=False)  # the zone's server is silent now
    assert {"ttl-of-a-cache"} == rules(found)
    assert found.longest is not None
    assert (found.longest.ttl_s, found.complete) == (17, False)


def sheet(*options: str, code: int = 0) -> str:
    argv = ["plan", "--old", OLD, "--new", NEW, "--domain", DOMAIN, *options]
    done = CliRunner().invoke(migrate, argv, standalone_mode=False, catch_exceptions=False)
    assert done.return_value == code
    return " ".join(done.output.split())


def test_the_sheet_has_the_ttl_of_dns_and_what_to_mend() -> None:
    with name_server(FAULTS["ttl-long"]) as at:
        said = sheet("--resolver", f"{at[0]}:{at[1]}")
        given = sheet("--resolver", f"{at[0]}:{at[1]}", "--ttl", "3600")
    assert "24:00:00 (TTL of MX of domain.example in DNS)" in said
    assert "Wait 24:00:00 before the freeze" in said
    assert "DNS TODAY - warning: domain.example: TTL of MX is 86400 s [ttl-long]" in said
    assert "1:00:00 (the TTL given; DNS says 86400 s for MX of domain.example)" in given
    assert "Wait 1:00:00 before the freeze" in given


def test_an_incomplete_answer_is_a_lower_bound() -> None:
    with name_server(SOUND, broken=frozenset({DOMAIN})) as at:
        said = sheet("--resolver", f"{at[0]}:{at[1]}", code=3)
    assert "5:00 or more: not all is known" in said


def test_nothing_is_asked_with_no_dns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DnsReader, "ask", lambda *_: pytest.fail("it asked"))
    assert "DNS TODAY" not in sheet("--no-dns")


def test_others_text_is_no_markup_and_no_terminal_code(tmp_path: Path) -> None:
    record = '"v=spf1 mx -all" "[x](http://y) <b>\\027[31m"'
    with name_server({**SOUND, (DOMAIN, "TXT"): (300, [record])}) as at:
        sheet("--resolver", f"{at[0]}:{at[1]}", "--markdown", str(tmp_path / "s.md"))
    said = (tmp_path / "s.md").read_text()
    assert r"\[x\](http://y) \<b\>" in said
    assert "\x1b" not in said


def test_a_resolver_by_name_is_refused() -> None:
    with pytest.raises(click.BadParameter, match="a resolver is given by its address"):
        sheet("--resolver", "ns.example:53")
