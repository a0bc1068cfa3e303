"""The report as one self-contained file for a browser: no scripts, nothing fetched, light and dark, wide and narrow."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from popbox.migrate.verify import text
from popbox.migrate.verify.naming import clean
from popbox.migrate.verify.report import Report
from popbox.migrate.verify.result import ASPECTS

SHOWN_EACH = 200  # our choice: findings a box; a box of which every UIDL changed would fill the page
EQUAL_SHOWN = 5000  # our choice: rows of the table of equal boxes


def as_html(report: Report) -> str:
    """The page. Everything that comes from a message or a server is escaped."""
    environment = Environment(
        loader=PackageLoader("popbox.migrate.verify", "."),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"clean": clean, "line": text.line}
    return environment.get_template("report.html.j2").render(
        report=report,
        aspects=ASPECTS,
        clients=list(text.clients(report)),
        profiles=text.profiles,
        files=text.FILES,
        unequal=[box for box in report.boxes if not box.equal],
        same=[box for box in report.boxes if box.equal][:EQUAL_SHOWN],
        most=SHOWN_EACH,
    )
