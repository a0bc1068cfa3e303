"""The pre-flight for programs: what ``plan --json`` writes."""

from __future__ import annotations

import json
from typing import Any

from popbox.migrate.plan.plan import Facts
from popbox.migrate.plan.preflight.judge import Preflight
from popbox.migrate.plan.preflight.smtp_look import Seen

SCHEMA = "popbox.migrate-plan/1"


def as_json(facts: Facts) -> str:
    """One object, as README.md describes it; ``preflight`` is null where DNS was not read."""
    found = facts.preflight
    return (
        json.dumps(
            {
                "schema": SCHEMA,
                "old": facts.old,
                "new": facts.new,
                "domains": facts.domains,
                "preflight": found and _preflight(found),
            },
            indent=1,
        )
        + "\n"
    )


def _preflight(found: Preflight) -> dict[str, Any]:
    return {
        "errors": found.errors,
        "unanswered": found.unanswered,
        "findings": [one._asdict() for one in found.remarks],
        "ttls": [one._asdict() for one in found.ttls],
        "ttl_s": found.longest.ttl_s if found.longest else None,
        "ttls_complete": found.complete,
        "smtp": [_server(one) for one in found.servers],
        "facts": [*found.facts, *found.negative],
    }


def _server(seen: Seen) -> dict[str, Any]:
    held = seen.certificate
    return {
        "name": seen.name,
        "address": seen.address.host,
        "port": seen.address.port,
        "starttls": seen.offered,
        "why": seen.why or seen.broken,
        "tls": seen.version or None,
        "names": list(held.names) if held else None,
        "covers": held.covers(seen.name) if held else None,
        "ends": held.ends.isoformat() if held else None,
        "days": seen.days,
        "chain": seen.chain.value if held else None,
        "chain_why": seen.chain_why,
    }
