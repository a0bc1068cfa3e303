"""Any octets to a ``Mail``: no message makes it raise, or take more than time and memory in proportion to its size.

Parsing is the standard library's (``email`` with its default policy). Around it stand limits, since it recurses into
nested parts and looks at every line once for each part around it, and a fallback where a broken field makes it raise.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from email import message_from_bytes, policy
from email.headerregistry import AddressHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage, Message
from email.utils import getaddresses

from popbox.message.codes import codes
from popbox.message.markup import read_html, read_text
from popbox.message.model import Attachment, Link, Mail

MOST_OCTETS = 32 * 1024 * 1024  # our choice: four times what a mail of a test has; longer ones are cut off here
MOST_NESTED = 64  # our choice: how often a message may say multipart or message/; forwarded threads have about ten
MOST_PARTS = 1_000
MOST_BOUNDARIES = 10_000  # our choice: lines that begin as a boundary does, a long patch has thousands
MOST_LONGISH = 50  # our choice: Content- fields of more than 512 octets
MOST_FIELDS = 500
FIELD_OCTETS = 8_192  # our choice: parsing an address list takes quadratic time
FIELDS_OCTETS = 65_536  # our choice: of all fields together; the others are shown as they stand
CONTENT_OCTETS = 2_048  # our choice: of a Content- field; parsing 50,000 parameters takes minutes
TEXT_OCTETS = 2 * 1024 * 1024  # our choice: of a text so much is searched for links and codes

_NESTING = re.compile(rb"multipart|message", re.IGNORECASE)
_LONG = re.compile(rb"^content-[a-z-]+:(?:[^\n]|\n[ \t]){%d}" % CONTENT_OCTETS, re.IGNORECASE | re.MULTILINE)
_LONGISH = re.compile(rb"^content-[a-z-]+:(?:[^\n]|\n[ \t]){512}", re.IGNORECASE | re.MULTILINE)
_TYPES = re.compile(rb"^content-type:", re.IGNORECASE | re.MULTILINE)
_NO_CHARSET = frozenset({"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem"})
_POLICY = policy.default.clone(refold_source="none")
_KINDS = HeaderRegistry().registry
_STRUCTURED = frozenset(name for name, kind in _KINDS.items() if not issubclass(kind, UnstructuredHeader))
_ADDRESSES = frozenset(name for name, kind in _KINDS.items() if issubclass(kind, AddressHeader))
_ATOMS = r"[A-Za-z0-9!#$%&'*+/^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/^_`{|}~-]+)*"
_ADDRESS = rf"{_ATOMS}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*"
_SIMPLE = re.compile(rf"{_ADDRESS}|[A-Za-z0-9]+(?: [A-Za-z0-9]+)* <{_ADDRESS}>")


def parse(raw: bytes) -> Mail:
    """What is in a message, LF or CR LF line ends; never raises."""
    defects: list[str] = []
    try:
        return _parsed(raw, defects)
    except Exception as error:
        return Mail(raw, defects=(*defects, f"the message cannot be parsed: {type(error).__name__}"))


def _parsed(raw: bytes, defects: list[str]) -> Mail:
    octets = raw[:MOST_OCTETS]
    if len(octets) < len(raw):
        defects.append(f"only the first {MOST_OCTETS} octets were looked at")
    message = _message(octets, defects)
    texts: dict[str, str] = {}
    attachments: list[Attachment] = []
    for part in _leaves(message, defects):
        kind = _kind(part)
        if kind in ("text/plain", "text/html") and kind not in texts and not _is_attachment(part):
            texts[kind] = _text(part, defects)
        else:
            attachments.append(_attachment(part, kind, defects))
    text, html = texts.get("text/plain", ""), texts.get("text/html", "")
    words, links = read_html(html[:TEXT_OCTETS])
    all_links = _once(links + read_text(text[:TEXT_OCTETS]))
    found = dict.fromkeys([*codes(text[:TEXT_OCTETS]), *codes(words)])
    fields = _headers(message, defects)
    return Mail(raw, fields, text, html, all_links, tuple(found), tuple(attachments), tuple(dict.fromkeys(defects)))


def _message(octets: bytes, defects: list[str]) -> Message:
    """The tree of parts; a message that nests too much, or has too many, is one part."""
    octets, long = _LONG.subn(rb"X-\g<0>", octets)
    if long:
        defects.append(f"it has Content- fields of more than {CONTENT_OCTETS} octets: they are not looked at")
    crowded = len(_LONGISH.findall(octets)) > MOST_LONGISH or octets.count(b"\n--") > MOST_BOUNDARIES
    if crowded or len(_TYPES.findall(octets)) > MOST_PARTS:
        defects.append("it has too many parts: they are not told apart")
    elif len(_NESTING.findall(octets)) <= MOST_NESTED or _shallow(octets):
        try:
            return message_from_bytes(octets, policy=_POLICY)
        except Exception as error:
            defects.append(f"its parts cannot be told apart: {type(error).__name__}")
    else:
        defects.append(f"it nests more than {MOST_NESTED} parts: they are not told apart")
    blank = b"\r\n\r\n" if b"\r\n\r\n" in octets[:65_536] else b"\n\n"
    header, blank, body = octets.partition(blank)
    kept = re.sub(rb"(?im)^content-(?:type|transfer-encoding):", b"X-\\g<0>", header)
    return message_from_bytes(kept + blank + body, policy=_POLICY)


def _shallow(octets: bytes) -> bool:
    """Whether those words stand in header fields of few parts only: a text may well speak of messages."""
    return len(re.findall(rb"(?im)^content-type:(?:[^\n]|\n[ \t])*?(?:multipart|message)", octets)) <= MOST_NESTED


def _leaves(message: Message, defects: list[str]) -> list[Message]:
    """The parts that have no parts, in their order; a message in the message is one."""
    waiting, found = [message], list[Message]()
    while waiting:
        part = waiting.pop()
        below = part.get_payload() if part.is_multipart() and _kind(part).startswith("multipart/") else None
        if isinstance(below, list):
            waiting += [one for one in reversed(below) if isinstance(one, Message)]
        else:
            found.append(part)
        if len(found) == MOST_PARTS:
            defects.append(f"it has more than {MOST_PARTS} parts: the others are left out")
            break
    return found


def _tried(ask: Callable[[], str | None], otherwise: str) -> str:
    try:
        return ask() or otherwise
    except Exception:
        return otherwise


def _kind(part: Message) -> str:
    return _tried(part.get_content_type, "application/octet-stream")


def _is_attachment(part: Message) -> bool:
    return _tried(part.get_content_disposition, "inline") == "attachment" or bool(_name(part))


def _name(part: Message) -> str:
    return _tried(part.get_filename, "")


def _content_id(part: Message) -> str:
    return _tried(lambda: str(part.get("Content-ID", "")).strip().strip("<>"), "")


def _content(part: Message, defects: list[str]) -> bytes:
    """The octets of a part, as far as they can be decoded."""
    try:
        if part.is_multipart():
            return b"".join(one.as_bytes() for one in part.get_payload() if isinstance(one, Message))
        content = part.get_payload(decode=True)
    except Exception as error:
        defects.append(f"a part of type {_kind(part)} cannot be decoded: {type(error).__name__}")
        content = None
    defects.extend(f"a part of type {_kind(part)}: {type(one).__name__}" for one in part.defects[:5])
    return content if isinstance(content, bytes) else b""


def _text(part: Message, defects: list[str]) -> str:
    content, charset = _content(part, defects), _tried(lambda: str(part.get_content_charset("")), "")
    text = _decoded(content, charset)
    if charset and text is None:
        defects.append(f"a text has the charset {charset[:40]!r}, which is not known here")
    return (content.decode("utf-8", "replace") if text is None else text).replace("\r\n", "\n")


def _decoded(content: bytes, charset: str) -> str | None:
    """None where there is no such charset, or it is no way to write text."""
    if charset.replace("-", "_").lower() in _NO_CHARSET:
        return None
    try:
        return content.decode(charset or "utf-8", "replace")
    except (LookupError, ValueError):
        return None


def _attachment(part: Message, kind: str, defects: list[str]) -> Attachment:
    content = _content(part, defects)
    return Attachment(_name(part), kind, len(content), hashlib.sha256(content).hexdigest(), content, _content_id(part))


def _headers(message: Message, defects: list[str]) -> tuple[tuple[str, str], ...]:
    fields = list(message.raw_items()) if isinstance(message, EmailMessage) else []
    if len(fields) > MOST_FIELDS:
        defects.append(f"it has more than {MOST_FIELDS} header fields: the others are left out")
    told, left = list[tuple[str, str]](), FIELDS_OCTETS
    for name, value in fields[:MOST_FIELDS]:
        told.append((name, _field(name, str(value), decode=left > 0)))
        left -= len(value)
    return tuple(told)


def _field(name: str, source: str, decode: bool) -> str:
    """A header field decoded (RFC 2047); as it stands where that fails, cut off where it is very long."""
    plain = (
        re.sub(r"\r?\n(?=[ \t])", "", source[:FIELD_OCTETS])
        .encode("utf-8", "surrogateescape")
        .decode("utf-8", "replace")
    )
    if _is_as_read(name.lower(), plain):
        return plain
    limit = CONTENT_OCTETS if name.lower().startswith("content-") else FIELD_OCTETS
    return _tried(lambda: str(_POLICY.header_factory(name, plain)), plain) if decode and len(plain) < limit else plain


def _is_as_read(name: str, plain: str) -> bool:
    """Whether a field is read as it stands: most are, and the library takes 100 us for each to say so."""
    if "=?" in plain or not plain.isascii() or not plain.isprintable():
        return False
    return name not in _STRUCTURED or (name in _ADDRESSES and _SIMPLE.fullmatch(plain) is not None)


def _once(links: list[Link]) -> tuple[Link, ...]:
    """Each address once; the first mention counts, in HTML before in text."""
    return tuple({one.href: one for one in reversed(links)}.values())[::-1]


def addresses(value: str | None) -> tuple[str, ...]:
    """The addresses of a field such as From, without names, domains in lower case."""
    try:
        found = [address for _, address in getaddresses([(value or "")[:FIELD_OCTETS]]) if address]
    except Exception:
        return ()
    return tuple(normal(one) for one in found)


def normal(address: str) -> str:
    """An address for comparing: its domain in lower case (RFC 5321 §2.4 leaves the local part as it is)."""
    local, at, domain = address.strip().rpartition("@")
    return f"{local}{at}{domain.lower()}"
