"""What runs the host's own ``mailhost`` program: the accounts of a scenario, and the verbs declare and explain."""

from __future__ import annotations

import re
from typing import Any

import tomli_w

from popbox.clients.secret import MASK
from popbox.errors import HostError
from popbox.hosts.base import Ran
from popbox.result import Observation
from popbox.run.context import Context
from popbox.run.own_password import FROM_STDIN
from popbox.scenario.model import Scenario
from popbox.scenario.steps import Declare, Explain, Shell

SECRETS = re.compile(r'^(password: ).+$|("password": ")[^"]+|\$[0-9a-z]{1,10}\$\S+', re.MULTILINE)
"""How the program shows a password that it has made up, and hashes but for those of DES, which look like words."""


def accounts(context: Context) -> Observation:
    """Declare a scenario's accounts, all at once; what others have declared on the host stays."""
    scenario, host = context.file.scenario, context.host
    try:
        table = _hashed(scenario, context)
        if not table:
            return Observation(passed=True, said="nothing to declare")
        ran = host.run("apply", "--no-delete", "/dev/stdin", stdin=tomli_w.dumps(table).encode())
    except HostError as error:
        return Observation(passed=False, said=str(error))
    if ran.code:
        return Observation(passed=False, said=f"mailhost apply ended with {ran.code}: {ran.stderr.strip()}")
    domains = scenario.accounts.domains
    boxes = [f"{local}@{name}" for name, domain in domains.items() for local in domain.mailboxes]
    return Observation(passed=True, said=f"{', '.join(boxes or domains)} declared")


def _hashed(scenario: Scenario, context: Context) -> dict[str, Any]:
    """The accounts as accounts.toml has them: a hash in place of each password, which the ledger knows by it.

    Raises:
        HostError: the host does not answer, or makes no hash of a password.
    """
    table = scenario.accounts.model_dump(exclude_none=True, exclude_defaults=True)
    for name, domain in scenario.accounts.domains.items():
        for local, box in domain.mailboxes.items():
            if box.password is None:
                continue
            password = box.password.get_secret_value()
            made = context.host.run("mkpasswd", FROM_STDIN, stdin=f"{password}\n".encode())
            if made.code:
                raise HostError(
                    f"the password of {local}@{name}: mailhost mkpasswd ended with {made.code}", made.stderr
                )
            context.passwords[made.stdout.strip()] = password
            written = table["domains"][name]["mailboxes"][local]
            written["crypt"] = made.stdout.strip()
            del written["password"]
    return table


def declare(context: Context, spec: Declare, _deadline: float) -> Observation:
    """Run ``mailhost`` and check its exit code and its words."""
    argv = [context.text(word) for word in spec.argv]
    context.boxes.clear()  # a mailbox may be another's, or elsewhere, afterwards
    return _run(context, argv, spec.code, spec.says, spec.stdin)


def explain(context: Context, spec: Explain, _deadline: float) -> Observation:
    """Ask how an address would be routed."""
    return _run(context, ["explain", context.text(spec.address)], 0 if spec.delivered else 1, spec.says)


def shell(context: Context, spec: Shell, _deadline: float) -> Observation:
    """Run a script, and check its exit code and its words."""
    context.boxes.clear()
    ran = context.host.shell(context.text(spec.script))
    return _judge(context, ran, "the script", spec.code, spec.says)


def _masked(found: re.Match[str]) -> str:
    return (found[1] or found[2] or "") + MASK


def _run(context: Context, argv: list[str], code: int, says: str | None, stdin: str = "") -> Observation:
    ran = context.host.run(*argv, stdin=stdin.encode())
    return _judge(context, ran, f"mailhost {' '.join(shown(argv))}", code, says, secret=argv[0] == "mkpasswd")


def shown(argv: list[str]) -> list[str]:
    """A command without the hash of a password."""
    hidden = [MASK if before == "--crypt" else word for before, word in zip(["", *argv], argv, strict=False)]
    return [f"--crypt={MASK}" if word.startswith("--crypt=") else word for word in hidden]


def _judge(context: Context, ran: Ran, what: str, code: int, says: str | None, *, secret: bool = False) -> Observation:
    """``secret``: what it printed is one."""
    printed = ran.stdout + ran.stderr
    found = context.search(says, printed) if says else None
    printed = MASK if secret and not ran.code else SECRETS.sub(_masked, printed)
    if found:
        context.variables.update({name: value for name, value in found.groupdict().items() if value is not None})
    passed = ran.code == code and (not says or found is not None)
    wanted = f"exit code {code}" + (f" and words that match {says!r}" if says else "")
    said = f"{what} ended with {ran.code}"
    hint = "" if passed else f"expected {wanted}; it printed:\n{printed.strip()}"
    return Observation(passed=passed, said=said, hint=hint, evidence={"printed": printed})
