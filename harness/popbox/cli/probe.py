"""``popbox probe``: the click command. Exit codes as monitoring plugins have them: 0 ok, 1 warning, 2 critical, 3."""

from __future__ import annotations

import json
import ssl
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from popbox.cli.options import address, password_in
from popbox.cli.output import NAME, PathName, echo
from popbox.errors import PopboxError
from popbox.operate.probe import Plan, Probed, Security, Service, probe
from popbox.printable import plain
from popbox.reading import opened
from popbox.replacing import is_special, replaceable

OK, WARNING, CRITICAL, UNKNOWN = 0, 1, 2, 3
WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")


class _Plugin(click.Command):
    """As monitoring wants it: whatever keeps the probe from telling is UNKNOWN, one line of its own and exit code 3."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the arguments; click's own code for unusable ones would be CRITICAL."""
        try:
            return super().make_context(*args, **kwargs)
        except click.ClickException as error:
            _unknown(error.format_message())
            error.unusable = UNKNOWN  # type: ignore[attr-defined]
            raise

    def invoke(self, ctx: click.Context) -> Any:
        """Probe; a fault of popbox would end with the code of WARNING."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, PopboxError, ssl.SSLError) as error:
            return _unknown(error.message if isinstance(error, click.ClickException) else str(error))
        except OSError as error:
            return _unknown(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        except Exception as error:  # monitoring is told of it, as of anything else
            return _unknown(f"popbox has a fault: {type(error).__name__}: {error}")


def _unknown(why: str) -> int:
    with suppress(OSError):  # stdout may be what cannot be written
        echo(f"POPBOX UNKNOWN - {' '.join(why.split())}")
    return UNKNOWN


@click.command("probe", cls=_Plugin)
@click.argument("host", type=NAME)
@click.option("--smtp", "smtp_at", type=NAME, metavar="HOST:PORT", help="Where SMTP is, if not HOST:25.")
@click.option(
    "--pop3", "pop3_at", type=NAME, metavar="HOST:PORT", help="Where POP3 is, if not HOST:110 (HOST:995 with implicit)."
)
@click.option(
    "--to", required=True, type=NAME, metavar="ADDRESS", help="The address to send to; its box is the probe's alone."
)
@click.option(
    "--from", "sender", type=NAME, metavar="ADDRESS", help="Envelope sender; the address itself if not given."
)
@click.option("--login", required=True, type=NAME, help="The box's POP3 login.")
@click.option(
    "--password-file", required=True, type=NAME, metavar="F", help="Its first line is the password; - for stdin."
)
@click.option("--smtp-tls", type=click.Choice(["none", "starttls", "implicit"]), default="none", show_default=True)
@click.option("--pop3-tls", type=click.Choice(["none", "starttls", "implicit"]), default="none", show_default=True)
@click.option("--ca", type=PathName(path_type=Path, dir_okay=False, exists=True), help="Certificates to trust (PEM).")
@click.option("--within", type=click.FloatRange(1, 600), default=60.0, show_default=True, help="Seconds in all.")
@click.option("--warn", type=click.FloatRange(0), default=10.0, show_default=True, help="Slower is a WARNING, seconds.")
@click.option("--critical", type=click.FloatRange(0), default=30.0, show_default=True, help="Slower is CRITICAL.")
@click.option("--format", "form", type=click.Choice(["nagios", "prometheus", "json"]), default="nagios")
@click.option("--output", type=PathName(path_type=Path, dir_okay=False), help="Replace this file; nothing on stdout.")
def probe_command(
    host: str,
    smtp_at: str | None,
    pop3_at: str | None,
    to: str,
    sender: str | None,
    login: str,
    password_file: str,
    smtp_tls: Security,
    pop3_tls: Security,
    ca: Path | None,
    within: float,
    warn: float,
    critical: float,
    form: str,
    output: Path | None,
) -> int:
    """Send one message to HOST by SMTP, fetch it by POP3, delete it, and print how long each leg took.

    Exit codes are those of monitoring plugins: 0 OK, 1 WARNING (slow), 2 CRITICAL (failed or too slow), 3 UNKNOWN
    (unusable arguments, or --output cannot be written).
    """
    if ca is not None:
        opened(ca).close()  # OpenSSL would wait for a FIFO, and read a device without end
    tls = ssl.create_default_context(cafile=str(ca) if ca else None)
    smtp = Service(address(smtp_at or f"{host}:25"), smtp_tls, tls)
    pop3 = Service(address(pop3_at or f"{host}:{995 if pop3_tls == 'implicit' else 110}"), pop3_tls, tls)
    plan = Plan(smtp, pop3, sender or to, to, login, password_in(password_file), within)
    seen = probe(plan)
    code = verdict(seen, warn, critical)
    text = {"nagios": nagios, "prometheus": prometheus, "json": as_json}[form](seen, code, warn, critical)
    if output:
        _replace(output, text)
    else:
        sys.stdout.write(plain(text))
    return code


def verdict(seen: Probed, warn: float, critical: float) -> int:
    """The exit code: a failed leg is critical; otherwise the whole time, in seconds, is judged."""
    if seen.failed or seen.total_s >= critical:
        return CRITICAL
    return WARNING if seen.total_s >= warn else OK


def nagios(seen: Probed, code: int, warn: float, critical: float) -> str:
    """One line with performance data, as the Monitoring Plugins guidelines have it."""
    legs = ", ".join(f"{name} {took_s:.3f} s" for name, took_s in seen.legs.items())
    said = f"{seen.failed}: {seen.why}" if seen.failed else f"there and back in {seen.total_s:.3f} s"
    said = " ".join(said.split()).replace("|", "/")  # a bar would begin the performance data
    data = [f"{name}={took_s:.3f}s;;;0" for name, took_s in seen.legs.items()]
    if not seen.failed:
        data.append(f"total={seen.total_s:.3f}s;{warn:g};{critical:g};0")
    return f"POPBOX {WORDS[code]} - {said}{f' ({legs})' if legs else ''} | {' '.join(data)}".rstrip(" |") + "\n"


def prometheus(seen: Probed, code: int, _warn: float, _critical: float) -> str:
    """Prometheus text format 0.0.4, fit for the node exporter's textfile collector."""
    lines = [
        "# HELP popbox_probe_success Whether the message came back whole (1) or not (0).",
        "# TYPE popbox_probe_success gauge",
        f"popbox_probe_success {int(not seen.failed)}",
        "# HELP popbox_probe_status Exit code: 0 ok, 1 warning, 2 critical.",
        "# TYPE popbox_probe_status gauge",
        f"popbox_probe_status {code}",
        "# HELP popbox_probe_leg_seconds How long each leg took.",
        "# TYPE popbox_probe_leg_seconds gauge",
        *(f'popbox_probe_leg_seconds{{leg="{name}"}} {took_s:.6f}' for name, took_s in seen.legs.items()),
        "# HELP popbox_probe_removed_messages Messages of earlier probes that were taken away.",
        "# TYPE popbox_probe_removed_messages gauge",
        f"popbox_probe_removed_messages {seen.removed}",
        "# HELP popbox_probe_timestamp_seconds When the probe began, Unix time.",
        "# TYPE popbox_probe_timestamp_seconds gauge",
        f"popbox_probe_timestamp_seconds {seen.began_at:.3f}",
    ]
    return "\n".join(lines) + "\n"


def as_json(seen: Probed, code: int, warn: float, critical: float) -> str:
    """One object; times in seconds, ``failed`` the leg that failed or null."""
    table: dict[str, Any] = {
        "status": WORDS[code],
        "began": datetime.fromtimestamp(seen.began_at, UTC).isoformat(timespec="milliseconds"),
        "legs_s": {name: round(took_s, 6) for name, took_s in seen.legs.items()},
        "total_s": round(seen.total_s, 6),
        "failed": seen.failed,
        "why": seen.why,
        "removed": seen.removed,
        "warn_s": warn,
        "critical_s": critical,
    }
    return json.dumps(table, indent=1) + "\n"


def _replace(path: Path, text: str) -> None:
    """Write beside and rename: a collector never reads half a file. A device or a FIFO is written to."""
    if is_special(path):
        path.write_text(text, encoding="utf-8")
        return
    path = replaceable(path)
    scratch = path.with_name(f".{path.name}.new")
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(path)
