"""The cut-over sheet as Markdown, and as plain text to print."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

from popbox.migrate.plan import plan, sizing
from popbox.migrate.plan.plan import Facts, Section, Step

WIDTH = 100


def markdown(facts: Facts) -> str:
    """With boxes to tick."""
    lines = [f"# Moving from {facts.old} to {facts.new}", ""]
    lines += [f"- Today: {plan.state(facts)}", f"- No mail is taken and no box is open for: {plan.silence(facts)}", ""]
    if said := list(plan.today(facts)):
        lines += [f"## {plan.heading(facts)}", "", *(f"- {_escaped(line)}" for line in said), ""]
    for section in plan.sections(facts):
        lines += [f"## {section.title}", ""]
        lines += [f"Takes: {section.takes}", ""] if section.takes else []
        lines += [line for step in section.steps for line in _markdown_step(step)]
        lines.append("")
    if facts.load is not None:
        lines += ["## How large", "", *(f"- {line}" for line in sizing.lines(facts.load)), ""]
    lines += ["## What people will see", "", "| a mail program that | sees |", "|---|---|"]
    lines += [f"| {kind} | {sees} |" for kind, sees in plan.clients(facts)]
    return "\n".join(lines) + "\n"


def _escaped(line: str) -> str:
    """Text of others' servers within Markdown: it makes no markup."""
    return re.sub(r"([\\`*_\[\]<>])", r"\\\1", line)


def _markdown_step(step: Step) -> Iterator[str]:
    yield f"- [ ] {step.text}" + (f" Done when: {step.done_when}." if step.done_when else "")
    if step.command:
        yield from ("", f"      {step.command}", "")


def text(facts: Facts) -> str:
    """For paper: wrapped, with room to tick."""
    lines = [f"MOVING FROM {facts.old} TO {facts.new}", ""]
    lines += [
        *_wrapped("Today: ", plan.state(facts)),
        *_wrapped("No mail is taken and no box is open for: ", plan.silence(facts)),
    ]
    if said := list(plan.today(facts)):
        lines += ["", plan.heading(facts).upper(), *(row for line in said for row in _wrapped("  - ", line))]
    for section in plan.sections(facts):
        lines += ["", *_text_section(section)]
    if facts.load is not None:
        lines += ["", "HOW LARGE", *(row for line in sizing.lines(facts.load) for row in _wrapped("  - ", line))]
    lines += ["", "WHAT PEOPLE WILL SEE"]
    for kind, sees in plan.clients(facts):
        lines += _wrapped("  ", f"A mail program that {kind}: {sees}.")
    return "\n".join(lines) + "\n"


def _text_section(section: Section) -> Iterator[str]:
    yield section.title.upper() + (f"  [takes: {section.takes}]" if section.takes else "")
    for step in section.steps:
        yield from _wrapped("  [ ] ", step.text + (f" Done when: {step.done_when}." if step.done_when else ""))
        if step.command:
            yield f"        {step.command}"


def _wrapped(first: str, words: str) -> list[str]:
    return textwrap.wrap(
        words, WIDTH, initial_indent=first, subsequent_indent=" " * min(len(first), 6), break_on_hyphens=False
    )
