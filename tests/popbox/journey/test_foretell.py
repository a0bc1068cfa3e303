"""What the rules foretell is asked for the right address, and what contradicts it is an alarm."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.popbox.journey.bench import Bench, Host

from popbox.journey.join.foretell import Foreteller, unrouted, virtualdomains
from popbox.journey.model import Kind


def test_what_contradicts_the_rules_is_an_alarm(bench: Bench) -> None:
    bench.host.ends = {"accepted": True, "ends": [["bounced", "no mailbox (#5.1.1)", "", "", ""]]}
    bench.logged()
    journey = bench.one(queue_id="41")
    assert "the rules foretold bounced" in journey.alarms[0]
    foretold = journey.message.recipients[0].foretold
    assert foretold is not None
    assert foretold.outcome == "bounced"


@pytest.mark.parametrize(
    ("routed", "address"),
    [
        ("domain-com-joe-x@domain.com", "joe-x@domain.com"),
        ("domain-com-JOE@DOMAIN.com", "JOE@DOMAIN.com"),
        ("sub-joe@a.d.com", "joe@a.d.com"),
        ("p-joe@one.org", "joe@one.org"),
        ("p-ann@one.org", "p-ann@one.org"),
        ("any-joe@other.net", "joe@other.net"),
        ("alice@domain.com", "alice@domain.com"),
    ],
)
def test_the_address_that_was_routed_so(routed: str, address: str) -> None:
    table = virtualdomains("domain.com:domain-com\n.d.com:sub\njoe@one.org:p\none.org:one\n#x:y\n:any\n")
    assert unrouted(routed, table) == address


def test_a_domain_that_was_declared_just_now_is_asked_for_by_its_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("popbox.journey.join.foretell.JUST_NOW_S", 0.0, raising=False)
    (tmp_path / "control").mkdir()
    domains = tmp_path / "control/virtualdomains"
    rules = Foreteller(Host(top=tmp_path))
    for name in ("d", "e"):
        domains.write_text(f"{name}.org:{name}-org\n")
        rules.ask([("local", f"{name}-org-joe@{name}.org")])
        told = rules.places(f"{name}-org-joe@{name}.org")
        assert told is not None
        assert told.address == f"joe@{name}.org"
    domains.unlink()
    rules.ask([("local", "e-org-eve@e.org")])
    again = rules.places("e-org-eve@e.org")
    assert again is not None
    assert again.address == "eve@e.org", "what is known is not read for each address"


def test_an_answer_that_stays_the_same_is_stored_again_after_a_while(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the event of long ago, to which no new journey refers, may leave the store."""

    def foretold() -> list[int]:
        bench.logged()
        bench.recorder.run_pass()
        return [one.seq for one in bench.store.events_since(0) if one.kind is Kind.FORETOLD]

    first = foretold()
    assert len(first) == 1
    assert foretold() == first
    monkeypatch.setattr("popbox.journey.join.foretell.AGAIN_S", -1.0)
    again = foretold()
    assert len(again) == 2
    refer = [one.fields["foretold"] for one in bench.store.events_since(0) if one.kind is Kind.TRYING]
    assert refer == [again[0], again[0], again[1]]
