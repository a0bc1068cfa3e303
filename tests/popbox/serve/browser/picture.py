"""Makes README's picture of the console: ``make picture``."""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

from tests.popbox.serve.browser.town import declared, fetched, journeys
from tests.popbox.serve.browser.watched import launched
from tests.popbox.serve.mailing import mail, send, until
from tests.popbox.serve.served import serving
from tests.popbox.standin import standin

SIZE = {"width": 1000, "height": 562}
MOST_OCTETS = 100_000
MAIL = (  # subject, sender, recipient: bounced, deferred, delivered, and fetched
    ("Invoice 2026-114", "ann@domain.com", "jo@domain.com"),
    ("Holiday", "ann@domain.com", "away@domain.com"),
    ("Reset your password", "shop@client.example", "ann@domain.com"),
    ("the first message", "paul@example.org", "joe@domain.com"),
)


def settled(port: int, number: int) -> bool:
    found = journeys(port)
    return len(found) == number and found[0]["end"] not in ("queue", "not known")


def picture(state: Path) -> bytes:
    """PNG of the newest journeys: delivered, fetched, deferred, bounced."""
    with standin(state / "popbox") as host:
        host.keep()
        declared(host)
        with serving(state) as (port, _), launched() as browser:
            for number, (subject, sender, to) in enumerate(MAIL, 1):
                send(host, mail(subject), to, sender=sender)
                if number == len(MAIL):
                    fetched(host, "testid")
                until(partial(settled, port, number))
            page = browser.new_page(viewport=SIZE)
            page.goto(f"http://127.0.0.1:{port}/")
            page.locator("[data-rows] tbody tr:first-child [data-leg=POP3][data-state=done]").wait_for()
            page.locator("[data-live]").wait_for()
            png: bytes = page.screenshot()
            return png


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="popbox-picture-") as place:
        Path(place).chmod(0o755)
        made = picture(Path(place))
    if len(made) > MOST_OCTETS:
        sys.exit(f"{len(made)} octets: README's picture has at most {MOST_OCTETS}")
    Path(sys.argv[1]).parent.mkdir(exist_ok=True)
    Path(sys.argv[1]).write_bytes(made)
