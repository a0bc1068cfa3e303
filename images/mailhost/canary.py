#!/usr/bin/python3 -I
"""canary - exit 0 when the canary's box can be opened by POP3 on this host, with the password of users/canary.

In clear on port 110; on port 995 where POPBOX_REQUIRE_TLS is yes. There the certificate is not verified: it is this
container's own, and its name is not 127.0.0.1. A box that another session holds has passed the password check.
"""

from __future__ import annotations

import os
import poplib
import ssl
import sys
from pathlib import Path

LOGIN = "popbox-canary"  # as declare-canary has it
PASSWORD = Path("/var/qmail/users/canary")
TIMEOUT_S = 8


def connect() -> poplib.POP3:
    """A greeted session. Raises OSError, poplib.error_proto."""
    if os.environ.get("POPBOX_REQUIRE_TLS") != "yes":
        return poplib.POP3("127.0.0.1", 110, timeout=TIMEOUT_S)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return poplib.POP3_SSL("127.0.0.1", 995, timeout=TIMEOUT_S, context=context)


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
