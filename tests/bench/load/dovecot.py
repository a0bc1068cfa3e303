"""``popbox load`` on Dovecot with a plain MTA: ``python -m tests.bench.load.dovecot FILE.toml BOXES DIR [OPTION]...``

The MTA is aiosmtpd with a Maildir write that keeps the promise of 250: file synced, renamed, directory synced. Needs
root, for Dovecot. An OPTION is one of `popbox load`. Prints what `popbox load` prints; DIR has its report.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.popbox.migrate.houses import PASSWORD, POPUSER, dovecot
from tests.ports import free_port

SENDER = "sender"


class Handler:
    """Delivers before it answers."""

    def __init__(self, root: Path) -> None:
        self._root, self._numbers = root, itertools.count()

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:  # noqa: N802
        if not (self._root / address.partition("@")[0]).is_dir():
            return "550 no mailbox"
        envelope.rcpt_tos.append(address)
        return "250 ok"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        for address in envelope.rcpt_tos:
            await asyncio.to_thread(self._write, address.partition("@")[0], envelope.content.replace(b"\r\n", b"\n"))
        return "250 ok"

    def _write(self, box: str, content: bytes) -> None:
        maildir = self._root / box / "Maildir"
        name = f"{int(time.time())}.{os.getpid()}_{next(self._numbers)}.bench"
        with (maildir / "tmp" / name).open("wb") as file:
            file.write(content)
            os.fchown(file.fileno(), POPUSER, POPUSER)
            file.flush()
            os.fsync(file.fileno())
        (maildir / "tmp" / name).rename(maildir / "new" / name)
        directory = os.open(maildir / "new", os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)


def boxes(root: Path, many: int) -> list[str]:
    """Make the Maildirs; the sender's is the first."""
    names = [SENDER, *(f"b{number}" for number in range(many))]
    for name in names:
        for part in ("tmp", "new", "cur"):
            (root / name / "Maildir" / part).mkdir(parents=True)
        for path in (root / name, *(root / name).rglob("*")):
            os.chown(path, POPUSER, POPUSER)
    return names


def main(file: str, many: int, out: str, *more: str) -> int:
    from aiosmtpd.controller import Controller

    with tempfile.TemporaryDirectory() as folder:
        place, root = Path(folder), Path(folder) / "boxes"
        place.chmod(0o755)
        names = boxes(root, many)
        rows = [f"{name}@bench.example,{name},{PASSWORD}" for name in names]
        (place / "boxes.csv").write_text("\n".join(["address,login,password", *rows, ""]))
        smtp = Controller(Handler(root), hostname="127.0.0.1", port=free_port())
        smtp.start()
        try:
            with dovecot(place, root, "mail_max_userip_connections = 1000\n") as pop3:
                where = ["--smtp", f"127.0.0.1:{smtp.port}", "--pop3", f"127.0.0.1:{pop3.port}"]
                argv = [sys.executable, "-m", "popbox", "load", file, "--accounts", str(place / "boxes.csv"), *where]
                argv += ["--host", "remote", "--allow-writes", "--report", out, *more]
                return subprocess.run(argv, check=False).returncode
        finally:
            smtp.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:]))
