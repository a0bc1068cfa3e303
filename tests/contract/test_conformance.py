"""The matrix of conformance/README.md, made anew for each server that is installed: no failure, no new deviation."""

from __future__ import annotations

import pytest
from tests.needs import require
from tests.popbox.conformance.matrix import measure
from tests.popbox.conformance.servers import SERVERS

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
