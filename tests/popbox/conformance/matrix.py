"""Writes the matrix of conformance/README.md: ``python -m tests.popbox.conformance.matrix``, as root for the peers."""

from __future__ import annotations

import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from tests.needs import why_not
from tests.popbox.conformance.servers import LOGIN, PASSWORD, SERVERS

from popbox.conformance.box import Options
from popbox.conformance.catalogue import CHECKS
from popbox.conformance.profiles import PROFILES
from popbox.conformance.report import count, summary
from popbox.conformance.session import Target
from popbox.conformance.suite import chosen, run
from popbox.conformance.verdict import Finding


def measure(name: str) -> tuple[str, list[Finding]]:
    """A server's version and the findings of all checks of its profile, destructive ones included.

    In a directory of its own: pytest makes its own one private again whenever another pytest starts.
    """
    profile, start, _ = SERVERS[name]
    with tempfile.TemporaryDirectory(prefix="popbox-matrix-") as place, start(Path(place)) as up:
        options = Options(Target(up.address, 10.0), LOGIN, PASSWORD, up.maildir, changes=True)
        return up.version, run(options, PROFILES[profile], chosen(CHECKS, PROFILES[profile], (), ()))


def cell(findings: list[Finding], area: str) -> str:
    """``passed/deviations/failed`` of one area."""
    found = count([finding for finding in findings if finding.area == area])
    return f"{found['passed']}/{found['deviation']}/{found['failed']}" if sum(found.values()) else "-"


def main() -> None:
    """Print Markdown."""
    results: dict[str, tuple[str, list[Finding]]] = {}
    for name in SERVERS:
        if why := why_not(*SERVERS[name][2]):
            print(f"{name}: {why}", file=sys.stderr)
            continue
        results[name] = measure(name)
        print(name, summary(results[name][1], PROFILES[SERVERS[name][0]]), file=sys.stderr)
    print(f"Measured {datetime.now(UTC):%Y-%m-%d}; passed/deviations/failed.\n")
    print("| area | " + " | ".join(results) + " |\n|---|" + "---|" * len(results))
    for area in dict.fromkeys(row.area for row in CHECKS):
        print(f"| {area} | " + " | ".join(cell(findings, area) for _, findings in results.values()) + " |")
    print("| version | " + " | ".join(version for version, _ in results.values()) + " |\n")
    for name, (_, findings) in results.items():
        named = sorted({finding.deviation for finding in findings if finding.deviation})
        print(f"- {name}: {', '.join(f'`{deviation}`' for deviation in named) or 'none'}")


if __name__ == "__main__":
    main()
