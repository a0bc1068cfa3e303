"""Password hashes of crypt(3): make one, check one, name its scheme.

The system's libcrypt does the work through ctypes (``crypt_r``, so threads may call it at once); where a system has
none, passlib does. checkpoppasswd starts once for every login, so this file imports neither ``re`` nor ``typing``.
"""

from __future__ import annotations

import ctypes
import os
from _operator import _compare_digest

DEFAULT = "sha512"
"""The scheme of new hashes. Every crypt(3) since 2007 verifies it (glibc, libxcrypt, musl) and a check takes 2 ms;
yescrypt, Debian's choice for /etc/shadow, takes 24 ms and 16 MiB for each POP3 login and musl cannot verify it."""

# glibc's struct crypt_data is the largest of all systems' (131,232 octets); libxcrypt and musl need less.
_STATE_OCTETS = 131_232 + 64
_DIGITS = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_GRAPHIC = bytes(set(range(33, 127)) - set(b":!*;\\"))


class _Scheme:
    """A hash scheme.

    ``prefix``: what the hash starts with; ``cost``: parameters of a new hash; ``checksum``: digits after the last
    ``$``; ``salt``: digits of a new salt, the last of which is one of ``tail`` (128 bits are 21 digits and 2 bits).
    """

    __slots__ = ("checksum", "cost", "prefix", "salt", "tail")

    def __init__(self, prefix: bytes, cost: bytes, checksum: int, salt: int, tail: bytes = _DIGITS) -> None:
        self.prefix, self.cost, self.checksum, self.salt, self.tail = prefix, cost, checksum, salt, tail


SCHEMES = {
    "des": _Scheme(b"", b"", 13, 2),
    "md5": _Scheme(b"$1$", b"", 22, 8),
    "sha256": _Scheme(b"$5$", b"", 43, 16),
    "sha512": _Scheme(b"$6$", b"", 86, 16),
    "bcrypt": _Scheme(b"$2", b"b$10$", 53, 22, b".Oeu"),
    "yescrypt": _Scheme(b"$y$", b"j9T$", 43, 22, b"./01"),
}
DUMMY_HASH = b"$6$popboxNoSuchUser$" + b"." * 86
"""Checked for a login that does not exist, so that it costs what the default scheme costs. No password gives it."""

WEAK = frozenset({"des", "md5"})
"""Schemes that are accepted and reported: DES sees 8 octets of the password (Q-CPW-7), md5-crypt is fast to guess."""


DES_OCTETS = 8
"""What DES crypt looks at; whatever is typed behind it is right too (Q-CPW-7)."""


HASH_OCTETS = 256
"""The longest hash that is taken: the longest of our schemes with all its parameters has some 130."""

PASSWORD_OCTETS = 512
"""The longest password that is hashed, libxcrypt's own limit: without one each round of sha512-crypt reads it all."""

ROUNDS = 1_000_000
"""Most rounds of sha256 and sha512 crypt: 0.3 and 0.7 s. passlib's own hashes have up to 656,000; the form allows a
thousand times more, and two logins with such a hash would hold all threads of a server that check passwords."""

BCRYPT_COST = 13
"""Highest cost of bcrypt: 0.6 s."""

_YESCRYPT = b"j", _DIGITS[:14], _DIGITS[:32]
"""Parameters of yescrypt: its usual flavour, N up to 2^14, r up to 32 (64 MiB, 0.1 s), and none of the rare others."""


class HashError(ValueError):
    """A password cannot be hashed as asked; the text never holds the password."""


def scheme_of(stored: bytes) -> str | None:
    """Name the scheme of a stored hash; None for a locked (``!``, ``*``), empty or odd field, which no password opens.

    Odd is also what asks for more work than one login may cost, see ``excess``.
    """
    return None if excess(stored) else _scheme_of(stored)


def excess(stored: bytes) -> str | None:
    """Which rule about the work of one check a stored hash breaks, or None; the text never shows the hash.

    The only owner of these bounds: writers, ``lint`` and every check of a password ask here.
    """
    if len(stored) > HASH_OCTETS:
        return f"has more than {HASH_OCTETS} octets"
    fields = stored.split(b"$", 3)
    if len(fields) < 4 or fields[0]:
        return None
    _, name, cost, _ = fields
    if name in (b"5", b"6") and cost.startswith(b"rounds="):
        digits = cost[7:]
        if not digits.isdigit() or len(digits) > len(str(ROUNDS)) or int(digits) > ROUNDS:
            return f"asks for other than 1 to {ROUNDS:,} rounds"
    elif name[:1] == b"2" and (len(cost) != 2 or not cost.isdigit() or int(cost) > BCRYPT_COST):
        return f"asks for a bcrypt cost other than 04 to {BCRYPT_COST}"
    elif name == b"y" and (
        len(cost) != 3 or any(octet not in known for octet, known in zip(cost, _YESCRYPT, strict=True))
    ):
        return "has other yescrypt parameters than flavour j, N up to 2^14 and r up to 32"
    return None


def _scheme_of(stored: bytes) -> str | None:
    """The scheme, whatever its check costs."""
    if stored.translate(None, _GRAPHIC):
        return None
    settings, _, checksum = stored.rpartition(b"$")
    if checksum.translate(None, _DIGITS):
        return None
    if not settings:
        return "des" if len(stored) == SCHEMES["des"].checksum else None
    for name, scheme in SCHEMES.items():
        if scheme.prefix and stored.startswith(scheme.prefix) and len(checksum) == scheme.checksum:
            return name
    return None


def weak(stored: bytes) -> bool:
    """Whether a hash is one of those that are accepted and reported."""
    return scheme_of(stored) in WEAK


def verify(password: bytes, stored: bytes) -> bool:
    """Say whether ``password`` gives ``stored``; False for locked, empty and odd hashes (Q-CPW-6), never an exception.

    The comparison takes the same time wherever the two differ. A password with a NUL is refused: crypt(3) stops there.
    """
    if scheme_of(stored) is None or b"\0" in password or len(password) > PASSWORD_OCTETS:
        return False
    made = _crypt(password, stored)
    return made is not None and _compare_digest(made, stored)


def make(password: bytes, scheme: str = DEFAULT) -> str:
    """Hash ``password`` with a fresh salt.

    Raises:
        HashError: unknown scheme, empty or over-long password, a NUL in it, or a scheme this system's crypt(3) does
            not know.
    """
    if scheme not in SCHEMES:
        raise HashError(f"unknown scheme {scheme!r}; known: {', '.join(SCHEMES)}")
    if not password or b"\0" in password:
        raise HashError("a password is one or more octets, none of them NUL")
    if len(password) > PASSWORD_OCTETS:
        raise HashError(f"a password has at most {PASSWORD_OCTETS} octets")
    made = _crypt(password, _setting(scheme))
    if made is None or scheme_of(made) != scheme:
        raise HashError(f"crypt(3) of this system cannot make {scheme} hashes")
    return made.decode("ascii")


def _setting(name: str) -> bytes:
    """Prefix, cost and fresh salt, as crypt(3) takes them; an octet gives a digit without bias (64 divides 256)."""
    scheme = SCHEMES[name]
    octets = os.urandom(scheme.salt)
    digits = bytes(_DIGITS[octet & 63] for octet in octets[:-1])
    return scheme.prefix + scheme.cost + digits + scheme.tail[octets[-1] % len(scheme.tail) :][:1]


def _crypt(password: bytes, setting: bytes) -> bytes | None:
    """crypt(3) itself; None where it refuses the setting (NULL or a failure token such as ``*0``)."""
    call = _crypt_r if setting.startswith(b"$") else _crypt_r_at_once
    if call is None:
        return _passlib_crypt(password, setting)
    made: bytes | None = call(password, setting, ctypes.create_string_buffer(_STATE_OCTETS))
    return None if made is None or made.startswith(b"*") else made


def _passlib_crypt(password: bytes, setting: bytes) -> bytes | None:
    """The same by passlib, for a system without libcrypt; None for yescrypt, which it does not know."""
    from passlib import hash as handlers

    name = next((n for n, s in SCHEMES.items() if s.prefix and setting.startswith(s.prefix)), "des")
    handler = getattr(handlers, f"{name}_crypt", getattr(handlers, name, None))
    if handler is None:
        return None
    try:
        made = handler.using(**_passlib_settings(name, setting.decode("ascii"))).hash(password)
    except (ValueError, IndexError, TypeError, RuntimeError):  # RuntimeError: no backend for bcrypt is installed
        return None
    return str(made).encode("ascii")


def _passlib_settings(name: str, setting: str) -> dict[str, str | int]:
    """Salt and rounds of a setting or a whole hash: passlib's default rounds are not crypt(3)'s (5000)."""
    fields = setting.split("$")[2:]
    if name == "des":
        return {"salt": setting[:2]}
    if name == "md5":
        return {"salt": fields[0]}
    if name == "bcrypt":
        return {"salt": fields[1][:22], "rounds": int(fields[0]), "ident": setting[1:3]}
    if fields[0].startswith("rounds="):
        return {"salt": fields[1], "rounds": int(fields[0].removeprefix("rounds="))}
    return {"salt": fields[0], "rounds": 5000}


def _load(library: type[ctypes.CDLL]) -> ctypes._NamedFuncPointer | None:
    """crypt_r of the system: libcrypt under its two usual names, else in the C library (musl); None where absent."""
    for name in ("libcrypt.so.1", "libcrypt.so.2", None):
        try:
            function = library(name).crypt_r
        except (OSError, AttributeError):
            continue
        function.restype = ctypes.c_char_p
        function.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p]
        return function
    return None


_crypt_r = _load(ctypes.CDLL)
_crypt_r_at_once = _load(ctypes.PyDLL)
"""For DES: it takes 6 us, and giving up the GIL for it costs several times that."""
