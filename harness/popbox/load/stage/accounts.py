"""The mailboxes of a run: declared in one ``apply``, all with one password, whose hash is cheap to check."""

from __future__ import annotations

import tomli_w
from passlib.hash import sha512_crypt

from popbox.errors import HostError
from popbox.hosts.base import Host
from popbox.load.plan.spec import BOUNCES, Spec

ROUNDS = 1_000  # the fewest of crypt(5): the host's POP3 is under test, and not its hash


def declare(host: Host, spec: Spec) -> None:
    """Declare the mailboxes; what others have declared on the host stays.

    Raises:
        HostError: mailhost refused them, or the host does not answer.
    """
    crypt = sha512_crypt.using(rounds=ROUNDS).hash(spec.password)
    domains: dict[str, dict[str, dict[str, dict[str, str]]]] = {}
    for number in range(spec.boxes):
        one = spec.box(number)
        local, _, domain = one.address.partition("@")
        boxes = domains.setdefault(domain, {"mailboxes": {}})["mailboxes"]
        boxes[local] = {"login": one.login, "crypt": crypt}
    domains[spec.domain(0)]["mailboxes"][BOUNCES] = {"login": spec.reports_to.login, "crypt": crypt}
    ran = host.run("apply", "--no-delete", "/dev/stdin", stdin=tomli_w.dumps({"domains": domains}).encode())
    if ran.code:
        raise HostError(f"the mailboxes of the run were refused: mailhost apply ended with {ran.code}", ran.stderr)
