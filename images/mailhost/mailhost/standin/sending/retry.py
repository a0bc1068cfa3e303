"""When a message is tried again. Pure. Source: Q-SEND-13, Q-SEND-14."""

from __future__ import annotations

import math

STEP = {True: 10, False: 20}  # by "local": seconds whose square is the first pause
GIVEN_UP = b"I'm not going to try again; this message has been in the queue too long.\n"


def next_try(birth: float, now: float, *, local: bool) -> int:
    """The time of a channel's next try, seconds since 1970; local tries are at about 0, 100, 400, 900 s (Q-SEND-13)."""
    age = max(0, int(now) - int(birth))
    return int(birth) + (math.isqrt(age) + STEP[local]) ** 2


def is_last(birth: float, now: float, lifetime_s: int) -> bool:
    """Whether a try that starts now is the last one: what it cannot deliver fails permanently (Q-SEND-14)."""
    return now > birth + lifetime_s
