"""STARTTLS in ``plan``: each rule by a server with that one fault, and nothing said of what did not answer."""

from __future__ import annotations

import json
import ssl
import time
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest
import trustme
from click.testing import CliRunner
from tests.popbox.migrate.plan.name_server import Records, name_server
from tests.popbox.migrate.plan.smtp_server import NOW, Server, context, trust

from popbox.cli.migrate import migrate
from popbox.clients.wire import Address
from popbox.migrate.plan.preflight import certificate, smtp_look, starttls
from popbox.migrate.plan.preflight.judge import Preflight
from popbox.migrate.plan.preflight.rules import RULES

OLD, NEW, DOMAIN = "old.example", "new.example", "domain.example"
AT_OLD, AT_NEW = "127.0.0.2", "127.0.0.7"
ZONE: Records = {
    (OLD, "A"): (300, [AT_OLD]),
    (NEW, "A"): (300, [AT_NEW]),
    ("7.0.0.127.in-addr.arpa", "PTR"): (300, ["new.example."]),
    (DOMAIN, "MX"): (300, ["10 old.example."]),
    (DOMAIN, "SOA"): (900, ["ns.example. root.example. 1 2 3 4 600"]),
}
AUTHORITY, STRANGER = trustme.CA(), trustme.CA()
RULE_SESSION_S = 0.7  # for servers that never answer


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine trusts AUTHORITY, and no other."""
    monkeypatch.setenv("SSL_CERT_FILE", trust(AUTHORITY, tmp_path))


def looked(server: Server, at: str = AT_NEW) -> Preflight:
    """The new host alone."""
    found = Preflight(new=NEW, takers={NEW: {at}}, leaving={AT_OLD})
    with server.up(at):
        starttls.add_starttls(found, NOW, server.port)
    return found


def rules(found: Preflight) -> set[str]:
    return {remark.rule for remark in found.remarks}


def old_tls() -> ssl.SSLContext:
    made = context(AUTHORITY, NEW)
    made.set_ciphers("DEFAULT:@SECLEVEL=0")
    made.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with warnings.catch_warnings(action="ignore"):  # Python deprecates what the test is about
        made.maximum_version = ssl.TLSVersion.TLSv1_1
    return made


FAULTS: dict[str, Server] = {
    "starttls-none": Server(ehlo="250-mx\r\n250 8BITMIME"),
    "starttls-broken": Server(starttls="454 TLS not available"),
    "tls-old": Server(old_tls()),
    "cert-name": Server(context(AUTHORITY, "other.example")),
    "cert-ended": Server(context(AUTHORITY, NEW, days=-3)),
    "cert-ends-soon": Server(context(AUTHORITY, NEW, days=20.5)),
    "cert-chain": Server(context(STRANGER, NEW)),
    "smtp-not-known": Server(greeting="554 no SMTP service here"),
}


def test_each_rule_has_a_fault_here() -> None:
    assert FAULTS.keys() == {rule for rule in RULES if rule.startswith(("starttls", "tls", "cert", "smtp"))}


def test_a_sound_server_has_no_remark_and_is_sent_nothing_else() -> None:
    server = Server(context(AUTHORITY, NEW, days=90.5))
    found = looked(server)
    assert found.remarks == []
    (seen,) = found.servers
    assert (seen.offered, seen.version, seen.chain.value, seen.days) == (True, "TLSv1.3", "valid", 90)
    assert found.facts == [
        f"new.example SMTP 127.0.0.7:{server.port}: STARTTLS, TLSv1.3, certificate for new.example "
        f"until {NOW + timedelta(days=90.5):%Y-%m-%d} (90 days), chain valid"
    ]
    assert server.lines == ["EHLO popbox.invalid", "STARTTLS", "QUIT"] * 2


@pytest.mark.parametrize("rule", FAULTS)
def test_one_fault_gives_its_rule_and_no_other(rule: str) -> None:
    found = looked(FAULTS[rule])
    assert rules(found) == {rule}
    assert found.unanswered is (rule == "smtp-not-known")
    assert set(FAULTS[rule].lines) <= {"EHLO popbox.invalid", "STARTTLS", "QUIT"}


@pytest.mark.parametrize("at", [AT_OLD, AT_NEW])
@pytest.mark.parametrize("rule", ["starttls-broken", "cert-chain"])
def test_a_host_that_stays_behind_is_only_described(rule: str, at: str) -> None:
    found = looked(FAULTS[rule], at)
    assert rules(found) == (set() if at == AT_OLD else {rule})
    assert len(found.facts) == 1


@pytest.mark.parametrize("fault", ["silent", "drip", "wait"])
def test_what_does_not_answer_is_not_known_and_has_a_deadline(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp_look, "SESSION_S", RULE_SESSION_S)
    began = time.monotonic()
    found = looked(Server(context(AUTHORITY, NEW), fault=fault))
    assert rules(found) == {"smtp-not-known"}
    assert found.servers[0].offered is None
    assert "waited 0.7 s for the end of the session" in found.servers[0].why
    assert time.monotonic() - began < 60, "a drip is answered before the line's own deadline, and would go on"


def test_a_reply_without_an_end_is_not_kept() -> None:
    found = looked(Server(fault="endless"))
    assert "sent a reply that does not end" in found.servers[0].why
    assert rules(found) == {"smtp-not-known"}


def test_nobody_listens() -> None:
    server = Server()
    with server.up(AT_NEW):
        pass  # its port is closed by now
    found = Preflight(new=NEW, takers={NEW: {AT_NEW}})
    starttls.add_starttls(found, NOW, server.port)
    assert found.facts == [f"new.example SMTP 127.0.0.7:{server.port}: STARTTLS not known: no connection: "
                           "Connection refused"]  # fmt: skip
    assert found.unanswered
    assert found.errors == 0


def test_a_server_that_hangs_up_at_starttls_is_broken() -> None:
    found = looked(Server(fault="cut"))
    assert rules(found) == {"starttls-broken"}
    assert found.errors == 1


def test_the_end_of_all_time_and_the_most_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starttls, "see", lambda name, address: smtp_look.Seen(name, address, offered=False))
    found = Preflight(new=NEW, takers={NEW: {f"127.0.0.{n}" for n in range(10, 20)}})
    starttls.add_starttls(found, NOW)
    assert [seen.offered for seen in found.servers] == [False] * 8 + [None] * 2
    monkeypatch.setattr(starttls, "ALL_S", -1.0)
    found = Preflight(new=NEW, takers={NEW: {AT_NEW}})
    starttls.add_starttls(found, NOW)
    assert found.unanswered


@pytest.mark.parametrize(
    ("name", "covered"),
    [
        ("mx.example", True),
        ("MX.Example.", True),
        ("a.wild.example", True),
        ("wild.example", False),
        ("a.b.wild.example", False),
        ("example", False),
        ("x.mx.example", False),
    ],
)
def test_which_names_a_certificate_covers(name: str, covered: bool) -> None:
    issued = AUTHORITY.issue_cert("MX.example", "*.wild.example", common_name="example")
    held = certificate.read(ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode()))
    assert held.covers(name) is covered


def test_a_certificate_is_read_as_python_reads_it() -> None:
    """The end beyond 2049 is written in another form (RFC 5280 §4.1.2.5)."""
    for days in (-12_000, -3_000, 10, 9_000):
        issued = AUTHORITY.issue_cert("mx.example", not_before=NOW - timedelta(days=13_000),
                                      not_after=NOW + timedelta(days=days))  # fmt: skip
        held = certificate.read(ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode()))
        assert held.ends == (NOW + timedelta(days=days)).replace(microsecond=0)
        assert held.names == ("mx.example",)


def test_a_torn_certificate_is_a_value_error() -> None:
    der = ssl.PEM_cert_to_DER_cert(AUTHORITY.issue_cert("mx.example").cert_chain_pems[0].bytes().decode())
    for length in range(len(der)):
        with pytest.raises(ValueError, match=r"cut off|missing|tag"):
            certificate.read(der[:length])
    for at in range(len(der)):  # hostile octets: an answer or a ValueError, nothing else
        for octet in (0x00, 0x80, 0xFF):
            torn = der[:at] + bytes([octet]) + der[at + 1 :]
            try:
                certificate.read(torn)
            except ValueError:
                continue


def test_an_empty_list_of_names_is_a_value_error() -> None:
    """`next` in a generator made a RuntimeError of it, which ended the command."""
    with pytest.raises(ValueError, match="tag 0x0"):
        tuple(certificate._names(bytes.fromhex("3009" + "3007" + "0603551d11" + "0400")))


def sheet(at: tuple[str, int], *options: str) -> tuple[int, str]:
    argv = ["plan", "--old", OLD, "--new", NEW, "--domain", DOMAIN, "--resolver", f"{at[0]}:{at[1]}", *options]
    done: Any = CliRunner().invoke(migrate, argv, standalone_mode=False, catch_exceptions=False)
    return done.return_value, " ".join(done.output.split())


def test_the_sheet_and_its_machine_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old host by its MX on port 25, here another one; the new host on a port of its own."""
    old, new = Server(context(STRANGER, OLD)), Server(starttls="454 no\x1b[31m")
    file = tmp_path / "plan.json"
    with name_server(ZONE) as at, old.up(AT_OLD), new.up(AT_NEW):
        monkeypatch.setattr(starttls, "SMTP_PORT", old.port)
        code, said = sheet(at, "--starttls", "--new-smtp-port", str(new.port), "--json", str(file))
    assert code == 1
    assert "DNS AND SMTP TODAY - error: new.example:" in said
    assert "454 no\\x1b[31m [starttls-broken]" in said
    found = json.loads(file.read_text())
    assert (found["schema"], found["domains"]) == ("popbox.migrate-plan/1", [DOMAIN])
    found = found["preflight"]
    assert (found["errors"], found["unanswered"], found["ttl_s"], found["ttls_complete"]) == (1, False, 300, True)
    assert [(one["rule"], one["level"], one["name"]) for one in found["findings"]] == [
        ("starttls-broken", "error", NEW)
    ]
    of_new, of_old = found["smtp"]
    assert (of_new["address"], of_new["starttls"], of_new["tls"], of_new["names"]) == (AT_NEW, True, None, None)
    assert (of_old["name"], of_old["names"], of_old["covers"], of_old["days"]) == (OLD, [OLD], True, 89)
    assert (of_old["chain"], bool(of_old["chain_why"])) == ("not valid", True)


def test_exit_codes(tmp_path: Path) -> None:
    """The sheet is written whatever the code."""
    two_mx = {**ZONE, (DOMAIN, "MX"): (300, ["10 192.0.2.1."])}
    with name_server(ZONE) as at:
        assert sheet(at)[0] == 0
    with name_server(two_mx) as at:
        assert sheet(at, "--markdown", str(tmp_path / "s.md"))[0] == 1
    assert "mx-literal" in (tmp_path / "s.md").read_text()
    with name_server(two_mx, broken=frozenset({NEW})) as at:
        code, said = sheet(at)
    assert code == 3
    assert "[mx-literal]" in said
    assert "7. ROLL BACK" in said


def test_json_to_standard_output_is_json_alone() -> None:
    with name_server(ZONE) as at:
        code, said = sheet(at, "--json", "-")
    assert code == 0
    assert json.loads(said)["preflight"]["smtp"] == []


def test_nothing_is_contacted_without_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starttls, "see", lambda *_: pytest.fail("it connected"))
    with name_server(ZONE) as at:
        assert sheet(at)[0] == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--no-dns", "--starttls"], "--starttls needs --domain"),
        (["--no-dns", "--json", "-"], "--json needs --domain"),
        (["--new-smtp-port", "2525"], "give both"),
    ],
)
def test_options_that_do_not_fit(options: list[str], said: str) -> None:
    with pytest.raises(click.UsageError, match=said):
        sheet(("127.0.0.1", 1), *options)


def test_an_address_of_ipv6_is_shown_in_brackets() -> None:
    seen = smtp_look.see(NEW, Address("::1", 1))
    assert seen.offered is None
    assert str(seen.address) == "[::1]:1"
