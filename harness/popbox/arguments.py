"""Arguments of popbox's Python interface: of the type that is wanted, or one clear line that says so."""

from __future__ import annotations

import math
from typing import Any

from pydantic import ValidationError

from popbox.errors import UnusableError
from popbox.scenario.mistakes import dotted, mistakes
from popbox.scenario.steps import STEP_VERBS, Step

A_SENT, AN_ADDRESS, SECONDS = "what `send()` gave", "an address or a Mailbox, or several,", "a number of seconds"


def be(name: str, value: object, kind: Any, wanted: str) -> None:
    """Go on only with an argument of that type.

    Raises:
        UnusableError: it is of another.
    """
    if not isinstance(value, kind):
        raise UnusableError(f"{name}={value!r}: {wanted} is wanted")


def seconds(name: str, value: object) -> None:
    """Go on only with a length of time that ends: for NaN and infinity there is no moment at which it is over.

    Raises:
        UnusableError: it is none.
    """
    if not isinstance(value, float | int) or not 0 <= value < math.inf:
        raise UnusableError(f"{name}={value!r}: {SECONDS} is wanted")


def step(verb: str, spec: Any, within_s: float) -> Step:
    """A step as a scenario file would say it.

    Raises:
        UnusableError: it is none.
    """
    be("verb", verb, str, f"one of {', '.join(STEP_VERBS)}")
    table = {verb: spec, "within-s": within_s}
    try:
        return Step.model_validate(table)
    except ValidationError as error:
        wrong = mistakes(error, Step.model_json_schema(by_alias=True), table)
        raise UnusableError("\n".join(f"step: {dotted(path)}: {rule}" for path, rule in wrong)) from None
