"""What ``mailhost serve pop3`` is told: one frozen value, limits with their origin beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mailhost.pop3.protocol.profiles import RFC1939, Profile


@dataclass(frozen=True, slots=True)
class Address:
    """A listening address."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what peers may take. Times in seconds."""

    fail_delay_s: float = 2.0  # HOWTO: "a 2 second delay on failed authentications" (H-28)
    login_delay_s: int = 0  # RFC 2449 §6.5: least distance of two logins; announced when it is not 0
    login_s: float = 120.0  # our choice: a person typing into telnet needs less, a scanner would hold a slot for hours
    idle_s: float | None = None  # None: the profile's (RFC 1939 asks for at least 600)
    drain_s: float = 30.0  # our choice: shorter than most supervisors wait before SIGKILL
    connections: int = 10_000
    per_address: int = 100
    unauthenticated: int = 2_000


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Options:
    """Everything one server needs to know."""

    home: Path
    listen: tuple[Address, ...]
    profile: Profile = RFC1939
    hostname: str = "localhost"
    tls_listen: tuple[Address, ...] = ()
    cert: Path | None = None
    key: Path | None = None
    metrics: Address | None = None
    canary: Path | None = None  # touched by the health check when the canary's box has opened
    workers: int = 1
    limits: Limits = DEFAULT_LIMITS
    proxy_from: tuple[str, ...] = ()
    require_tls: bool = False
    utf8_asked: bool = False
    upgrade_hashes: bool = False
    log_messages: bool = False

    @property
    def poppasswd(self) -> Path:
        """The password file (H-30)."""
        return self.home / "users" / "poppasswd"
