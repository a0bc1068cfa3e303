"""What a certificate says, whether or not its chain is valid: its host names and its end (RFC 5280 §4.1).

Python's `ssl` gives the fields of a certificate only where it trusts its chain, and mail hosts often sign their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

_VERSION, _EXTENSIONS, _DNS_NAME = 0xA0, 0xA3, 0x82  # context tags of RFC 5280
_SEQUENCE, _OCTET_STRING, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0x04, 0x17, 0x18
_ALT_NAME = b"\x55\x1d\x11"  # 2.5.29.17, subjectAltName


@dataclass(frozen=True, slots=True)
class Certificate:
    """``names``: DNS names of subjectAltName, lower case; a name that is only in the subject counts for no verifier."""

    names: tuple[str, ...]
    ends: datetime

    def covers(self, host: str) -> bool:
        """Whether it is for a host; ``*`` stands for the whole first label (RFC 6125 §6.4.3)."""
        host = host.rstrip(".").lower()
        return any(name in (host, f"*.{host.partition('.')[2]}") for name in self.names)

    def days_left(self, now: datetime) -> int:
        """Whole days until its end; negative once it has ended."""
        return (self.ends - now).days


def read(der: bytes) -> Certificate:
    """The leaf certificate as it came over the wire.

    Raises:
        ValueError: it is no X.509 certificate.
    """
    try:
        signed = _only(_only(der, _SEQUENCE), _SEQUENCE)
        fields = list(_elements(signed))
        if fields[0][0] == _VERSION:
            del fields[0]
        ends = list(_elements(fields[3][1]))[1]
        extensions = next((value for tag, value in fields[6:] if tag == _EXTENSIONS), b"")
        return Certificate(tuple(_names(extensions)), _moment(*ends))
    except (IndexError, StopIteration) as error:
        raise ValueError("a field is missing") from error


def _elements(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element of DER (X.690 §8.1); tags of one octet, which are all that a certificate has."""
    at = 0
    while at < len(octets):
        tag, length, at = octets[at], octets[at + 1], at + 2
        if length & 0x80:
            count = length & 0x7F
            length, at = int.from_bytes(octets[at : at + count], "big"), at + count
        if at + length > len(octets):
            raise ValueError("an element is cut off")
        yield tag, octets[at : at + length]
        at += length


def _only(octets: bytes, tag: int) -> bytes:
    """The content of the first element."""
    found, content = next(_elements(octets), (0, b""))
    if found != tag:
        raise ValueError(f"tag {found:#x} in place of {tag:#x}")
    return content


def _names(extensions: bytes) -> Iterator[str]:
    for _, extension in _elements(_only(extensions, _SEQUENCE) if extensions else b""):
        parts = list(_elements(extension))
        if parts[0][1] == _ALT_NAME and parts[-1][0] == _OCTET_STRING:
            for tag, name in _elements(_only(parts[-1][1], _SEQUENCE)):
                if tag == _DNS_NAME:
                    yield name.decode("ascii", "backslashreplace").rstrip(".").lower()


def _moment(tag: int, octets: bytes) -> datetime:
    """RFC 5280 §4.1.2.5: two digits of the year are of 1950 to 2049."""
    text = octets.decode("ascii", "replace")
    if tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError(f"tag {tag:#x} is no time")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
