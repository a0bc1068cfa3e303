"""Names that may stand in qmail's files: domains, local parts, prefixes, logins, forward targets.

Every name passes here before it becomes a line or a path, so none can add a line, a field or a path component.
Domains and local parts are kept in lower case: qmail's look-ups fold ASCII case (Q-VDOM-1, Q-ASSIGN-9).
"""

from __future__ import annotations

import functools
import string

from mailhost.accounts.errors import InputError

DOMAIN_OCTETS = 253  # RFC 1035 §2.3.4, without the root's dot
LOCAL_OCTETS = 64  # RFC 5321 §4.5.3.1.1
LOGIN_OCTETS = 128  # our choice: checkpassword takes 512 octets for login, password and banner together (Q-CPW-1)
TARGET_OCTETS = 254  # RFC 5321 §4.5.3.1.3: a path of 256 octets, angle brackets included

_ATEXT = frozenset(string.ascii_letters + string.digits + "!#$%&'*+-/=?^_`{|}~")  # RFC 5322 §3.2.3
_LDH = frozenset(string.ascii_lowercase + string.digits + "-")
_PREFIX = _LDH | frozenset("._")
_GRAPHIC = frozenset(map(chr, range(33, 127)))


@functools.lru_cache(maxsize=4096)
def domain(text: str) -> str:
    """The domain as it goes into files: lower-case A-labels (``Bücher.example`` -> ``xn--bcher-kva.example``).

    Raises:
        InputError: not a host name (RFC 5321 §4.1.2, RFC 5891), too long, a trailing dot (qmail trims none, Q-RCPT-4).
    """
    name = text.lower() if text.isascii() else _a_labels(text)
    labels = name.split(".")
    if not name or len(name) > DOMAIN_OCTETS:
        raise _refused(text, "domain", f"a domain has 1 to {DOMAIN_OCTETS} characters")
    if name.endswith("."):
        raise _refused(text, "domain", "ends in a dot; qmail would take that for another domain (Q-RCPT-4)")
    for label in labels:
        if not 0 < len(label) <= 63 or not _LDH.issuperset(label) or label[0] == "-" or label[-1] == "-":
            raise _refused(text, "domain", "a label is 1 to 63 letters, digits or inner hyphens (RFC 5321 §4.1.2)")
    if labels[-1].isdigit():
        raise _refused(text, "domain", "the last label is a number, so this is an IP address, not a domain")
    if any(label[2:4] == "--" for label in labels):
        _a_labels(name)
    return name


def _a_labels(text: str) -> str:
    """IDNA 2008 with the mapping of UTS 46, by the idna library (imported here: most names need none of it)."""
    import idna

    try:
        return idna.encode(text, uts46=True, std3_rules=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as why:
        raise _refused(text, "domain", f"not a valid internationalised domain: {why}") from why


def local_part(text: str) -> str:
    """The local part of a mailbox, alias or forward in the form that goes into files and paths (lower case).

    Raises:
        InputError: not an RFC 5321 dot-string, longer than 64 octets, or with a ``/`` (no file name holds it).
    """
    if not 0 < len(text) <= LOCAL_OCTETS:
        raise _refused(text, "local part", f"has 1 to {LOCAL_OCTETS} characters (RFC 5321 §4.5.3.1.1)")
    if "/" in text:
        raise _refused(text, "local part", "has a '/', which cannot be in the name of a box directory")
    _dot_string(text, "local part")
    return text.lower()


def _dot_string(text: str, field: str) -> None:
    """RFC 5321 §4.1.2 Dot-string: atoms joined by single dots; so no space, quote, colon, control or 8-bit octet."""
    for atom in text.split("."):
        if not atom or not _ATEXT.issuperset(atom):
            raise _refused(
                text, field, "is letters, digits, !#$%&'*+-/=?^_`{|}~ and single inner dots (RFC 5321 §4.1.2)"
            )


def address(text: str) -> tuple[str, str]:
    """``local@domain`` as the pair (local part, domain), both as they go into files.

    Raises:
        InputError: no ``@``, or one of the two halves is refused.
    """
    local, at, host = text.rpartition("@")
    if not at:
        raise _refused(text, "address", "has no @")
    return local_part(local), domain(host)


def target(text: str) -> str:
    """Where a forward goes: any address of the world, its local part untouched, its domain as A-labels.

    Raises:
        InputError: no ``@`` (qmail would add its own name, Q-LINE-7), or not an RFC 5321 mailbox with a dot-string.
    """
    local, at, host = text.rpartition("@")
    if not at or not local:
        raise _refused(text, "target", "is not local@domain")
    _dot_string(local, "target")
    made = f"{local}@{domain(host)}"
    if len(local) > LOCAL_OCTETS or len(made) > TARGET_OCTETS:
        raise _refused(text, "target", f"is longer than {LOCAL_OCTETS} before the @, or {TARGET_OCTETS} in all")
    return made


def login(text: str) -> str:
    """A POP3 login, case kept (Q-CPW-5).

    Raises:
        InputError: empty, too long, starts with ``#``, or holds a colon, a space, or anything but printable ASCII.
    """
    if not 0 < len(text) <= LOGIN_OCTETS:
        raise _refused(text, "login", f"has 1 to {LOGIN_OCTETS} characters")
    if not _GRAPHIC.issuperset(text) or ":" in text or text.startswith("#"):
        raise _refused(text, "login", "is printable ASCII without space or ':', and does not start with '#'")
    return text


def prefix(text: str) -> str:
    """The text that virtualdomains puts before each local part, and the directory below popboxes.

    Raises:
        InputError: empty, longer than a file name, a leading dot or hyphen, or anything but ``a-z 0-9 . _ -``.
    """
    made = text.lower()
    if not 0 < len(made) <= 255 or not _PREFIX.issuperset(made) or made[0] in ".-" or made[-1] in ".-":
        raise _refused(text, "prefix", "is 1 to 255 of a-z 0-9 . _ -, with neither dot nor hyphen first or last")
    return made


def prefix_of(name: str) -> str:
    """The HOWTO's prefix of a domain: ``domain.com`` -> ``domain-com``. qmail itself does no such thing (H-8)."""
    return name.replace(".", "-")


def overlap(one: str, other: str) -> bool:
    """True where mail for one prefix could be taken by the other's lines: equal, or one goes on after a ``-`` (H-9)."""
    return one == other or one.startswith(other + "-") or other.startswith(one + "-")


def _refused(text: str, field: str, rule: str) -> InputError:
    shown = text if len(text) <= 80 else text[:77] + "..."
    return InputError(rule, field=f"{field} {shown!r}")
