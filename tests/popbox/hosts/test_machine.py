"""What a host says of disks, sender and certificate, apart from its accounts."""

from __future__ import annotations

import json

import pytest
from tests.popbox.fakehost import FakeHost

from popbox.hosts.base import Ran
from popbox.hosts.readiness import machine

FINDINGS = [
    {"level": "error", "rule": "disk-full", "file": "queue", "text": "disk full: 0 KiB are left"},
    {"level": "error", "rule": "not-in-rcpthosts", "file": "control/rcpthosts", "text": "no matter of the machine"},
    {"level": "warning", "rule": "disk-read-only", "file": "users", "text": "read-only file system"},
    {"level": "warning", "rule": "certificate-late", "file": "/etc/x.pem", "text": "ends soon"},
]


@pytest.mark.parametrize(
    ("name", "late"),
    [
        ("docker", ["users: read-only file system", "/etc/x.pem: ends soon"]),
        ("mounted", ["/etc/x.pem: ends soon"]),  # as it is mounted here
    ],
)
def test_what_is_wrong_and_what_will_be(name: str, late: list[str]) -> None:
    host = FakeHost(name=name, ran=Ran((), 1, json.dumps({"findings": FINDINGS}), ""))
    assert machine(host) == (["queue: disk full: 0 KiB are left"], late)


@pytest.mark.parametrize(
    "ran", [Ran((), 2, "", "Error: No such option: --machine"), Ran((), 0, "[]", ""), Ran((), 111, "{}", "not now")]
)
def test_a_host_that_does_not_answer_says_nothing(ran: Ran) -> None:
    assert machine(FakeHost(ran=ran)) == ([], [])
