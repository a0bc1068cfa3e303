"""The matrix of conformance/README.md, made again for each server that is installed: no failure, no new deviation."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from tests.needs import require
from tests.popbox.conformance.matrix import measure
from tests.popbox.conformance.servers import LOGIN, PASSWORD, SERVERS, ours

from popbox.conformance.box import Options
from popbox.conformance.catalogue import CHECKS
from popbox.conformance.profiles import PROFILES
from popbox.conformance.session import Target
from popbox.conformance.suite import chosen, run
from popbox.conformance.verdict import Status

MARKS = {"qmail": [pytest.mark.realqmail], "courier": [pytest.mark.realqmail]}


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS.get(name, [])) for name in SERVERS])
def test_a_server_departs_from_the_rules_only_as_its_profile_says(name: str) -> None:
    require(*SERVERS[name][2])
    _, findings = measure(name)
    failed = [f for f in findings if f.status is Status.FAILED]
    assert [(f.check, f.said, f.transcript) for f in failed] == []
    assert sum(f.status is Status.PASSED for f in findings) > 200


@pytest.mark.parametrize("profile", ["rfc1939", "qmail"])
def test_with_a_certificate_no_rule_of_what_comes_with_it_fails(profile: str) -> None:
    """The qmail profile answers CAPA and STLS where it has one, and those are not qmail's to be lax about."""
    with tempfile.TemporaryDirectory(prefix="popbox-certificate-") as place, ours(Path(place), profile, tls=True) as up:
        options = Options(Target(up.address, 30.0), LOGIN, PASSWORD, up.maildir, changes=True)
        findings = run(options, PROFILES[profile], chosen(CHECKS, PROFILES[profile], ("CAPA", "STLS"), ()))
    assert [(f.check, f.said) for f in findings if f.status is Status.FAILED] == []
    assert {"stls", "stls-argument", "capa-argument"} <= {f.check for f in findings if f.status is Status.PASSED}
