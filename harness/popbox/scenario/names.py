"""Names that scenario files and hosts share. No model of a file is here: a host does without them."""

from __future__ import annotations

from typing import Literal

Service = Literal["smtp", "pop3"]
Disk = Literal["queue", "popboxes"]
HOWTO_HASH, HOWTO_PASSWORD = "DmIMm9e5Hc8ic", "testpw"  # the HOWTO's sample poppasswd line; it is public
