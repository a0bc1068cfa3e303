"""Verbs about what lies on the mail host: maildir, file, write, log."""

from __future__ import annotations

from popbox.clients.wire import readable
from popbox.errors import HostError
from popbox.hosts.readiness import wait_until
from popbox.result import Observation
from popbox.run.context import Context
from popbox.scenario.steps import File, Log, Maildir, Write


def maildir(context: Context, spec: Maildir, deadline: float) -> Observation:
    """Count the messages in new/ and cur/; waits until the numbers are right."""
    place = context.maildir(spec.mailbox)

    def counts() -> tuple[int, int]:
        folders = [one.entry.path.split("/")[0] for one in context.host.find(place, "")]
        return folders.count("new"), folders.count("cur")

    passed = wait_until(lambda: counts() == (spec.new, spec.cur), deadline)
    new, cur = counts()
    hint = "" if passed else f"new {spec.new}, cur {spec.cur} was expected"
    return Observation(passed=passed, said=f"{place}: new {new}, cur {cur}", hint=hint)


def file(context: Context, spec: File, deadline: float) -> Observation:
    """Wait until a file has what it should have, lacks what it should lack, and has its mode."""
    path = context.text(spec.path)
    passed = wait_until(lambda: not _wrong(context, spec, path), deadline)
    wrong = "" if passed else _wrong(context, spec, path)
    return Observation(passed=not wrong, said=f"{path}: {wrong or 'as expected'}")


def _wrong(context: Context, spec: File, path: str) -> str:
    """What is not as expected, in words; empty when all is."""
    try:
        mode = context.host.mode(path) if spec.mode else None
        text = readable(context.host.read(path)) if spec.has or spec.lacks else ""
    except HostError as error:
        return error.what
    if mode is not None and f"{mode:04o}" != spec.mode:
        return f"its mode is {mode:04o}, not {spec.mode}"
    if spec.has and not context.search(spec.has, text):
        return f"nothing in it matches {spec.has!r}; it holds:\n{text[-1000:]}"
    if spec.lacks and (found := context.search(spec.lacks, text)):
        return f"it holds {found.group()!r}"
    return ""


def write(context: Context, spec: Write, _deadline: float) -> Observation:
    """Put a file in place."""
    path = context.text(spec.path)
    context.host.write(path, context.text(spec.text).encode())
    if spec.mode:
        context.host.chmod(path, int(spec.mode, 8))
    return Observation(passed=True, said=f"{path}: {len(spec.text)} characters written")


def log(context: Context, spec: Log, deadline: float) -> Observation:
    """Wait until a service's log of this run says something, and make sure that it never says something else."""
    passed = wait_until(lambda: context.search(spec.says, context.log(spec.service)) is not None, deadline)
    text = context.log(spec.service)
    if spec.never and (found := context.search(spec.never, text)):
        return Observation(passed=False, said=f"the log of {spec.service} says {found.group()!r}")
    said = f"the log of {spec.service} {'says' if passed else 'does not say'} {spec.says!r}"
    return Observation(passed=passed, said=said, hint="" if passed else text[-1000:])
