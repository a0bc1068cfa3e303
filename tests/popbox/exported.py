"""Every variable that a shell may have exported for a deployment, as compose.yaml and images/README.md have them."""

from __future__ import annotations

import re

from tests.popbox import ROOT

# What Compose itself reads (its manual, "Pre-defined environment variables").
OF_COMPOSE = (
    "COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES", "COMPOSE_FILE", "COMPOSE_PATH_SEPARATOR", "COMPOSE_ENV_FILES",
    "COMPOSE_DISABLE_ENV_FILE", "COMPOSE_REMOVE_ORPHANS", "COMPOSE_IGNORE_ORPHANS", "COMPOSE_PARALLEL_LIMIT",
    "COMPOSE_CONVERT_WINDOWS_PATHS", "COMPOSE_ANSI", "COMPOSE_STATUS_STDOUT", "COMPOSE_MENU", "COMPOSE_BAKE",
)  # fmt: skip
# These two are meant for the harness too, or are the build's way out; images/README.md says so.
MEANT = {"QMAIL_BASE", "NOTQMAIL_KEY_FINGERPRINT", "SSL_CERT_FILE", "http_proxy", "https_proxy", "no_proxy"}


def documented() -> set[str]:
    """Names of compose.yaml's variables and of the table in images/README.md."""
    interpolated = re.findall(r"\$\{(\w+)", (ROOT / "compose.yaml").read_text())
    readme = (ROOT / "images/README.md").read_text().partition("## Variables\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in readme.splitlines() if line.startswith("| `")]
    in_table = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert len(in_table) > 15, "the table has moved"
    return {*interpolated, *in_table}


def unwanted() -> list[str]:
    """Those that must not reach a host of popbox's."""
    return sorted({*documented(), *OF_COMPOSE} - MEANT)
