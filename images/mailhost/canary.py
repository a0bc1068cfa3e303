#!/usr/bin/python3 -I
"""canary - exit 0 when POP3 on this host opens the canary's box with the password of users/canary.

Uses port 110 without TLS, or port 995 where POPBOX_REQUIRE_TLS is yes. The certificate is not verified there: it is
this container's own, and its name is not 127.0.0.1. A box that another session holds has passed the password check.
"""

from __future__ import annotations

import ipaddress
import os
import poplib
import socket
import ssl
import sys
from pathlib import Path

LOGIN = "popbox-canary"  # as in declare-canary
PASSWORD = Path("/var/qmail/users/canary")
TIMEOUT_S = 8


class Clear(poplib.POP3):
    """On port 110. Where this machine itself is a balancer's network, a PROXY header comes first (as in `greets`)."""

    def _create_socket(self, timeout: float) -> socket.socket:
        sock = socket.create_connection((self.host, self.port), timeout)
        networks = os.environ.get("POPBOX_PROXY_FROM", "").replace(",", " ").split()
        if any(ipaddress.ip_address(self.host) in ipaddress.ip_network(network) for network in networks):
            sock.sendall(b"PROXY UNKNOWN\r\n")
        return sock


class Secure(Clear):
    """On port 995."""

    def _create_socket(self, timeout: float) -> socket.socket:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(super()._create_socket(timeout))


def connect() -> poplib.POP3:
    """A session after its greeting.

    Raises:
        OSError: no connection, or no TLS.
        poplib.error_proto: the greeting is not +OK.
    """
    if os.environ.get("POPBOX_REQUIRE_TLS") != "yes":
        return Clear("127.0.0.1", 110, timeout=TIMEOUT_S)
    return Secure("127.0.0.1", 995, timeout=TIMEOUT_S)


def main() -> int:
    """Exit codes: 0 the login works, 1 it does not."""
    try:
        session = connect()
        session.user(LOGIN)
        session.pass_(PASSWORD.read_text("ascii").strip())
        session.stat()
        session.quit()
    except (OSError, poplib.error_proto) as why:
        if "[IN-USE]" in str(why):
            return 0
        print(f"canary: {why}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
