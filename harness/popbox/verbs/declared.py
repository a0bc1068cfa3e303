"""Verbs that run the host's own ``mailhost`` program: declare, explain."""

from __future__ import annotations

from popbox.model import Observation
from popbox.steps import Declare, Explain
from popbox.verbs.context import Context


def declare(context: Context, spec: Declare, _deadline: float) -> Observation:
    """Run ``mailhost`` and check its exit code and its words."""
    argv = [context.text(word) for word in spec.argv]
    return _run(context, argv, spec.code, spec.says, spec.stdin)


def explain(context: Context, spec: Explain, _deadline: float) -> Observation:
    """Ask how an address would be routed."""
    return _run(context, ["explain", context.text(spec.address)], 0 if spec.delivered else 1, spec.says)


def _run(context: Context, argv: list[str], code: int, says: str | None, stdin: str = "") -> Observation:
    ran = context.host.run(*argv, stdin=stdin.encode())
    printed = ran.stdout + ran.stderr
    found = context.search(says, printed) if says else None
    if found:
        context.variables.update({name: value for name, value in found.groupdict().items() if value is not None})
    passed = ran.code == code and (not says or found is not None)
    wanted = f"exit code {code}" + (f" and words that match {says!r}" if says else "")
    said = f"mailhost {' '.join(argv)} ended with {ran.code}"
    hint = "" if passed else f"expected {wanted}; it printed:\n{printed.strip()}"
    return Observation(passed=passed, said=said, hint=hint, evidence={"printed": printed})
