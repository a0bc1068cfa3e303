"""What a file is that is no mbox, by its first octets: said, and not imported."""

from __future__ import annotations

_FIRST: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "is compressed by gzip: unpack it first"),
    (b"BZh", "is compressed by bzip2: unpack it first"),
    (b"\xfd7zXZ\0", "is compressed by xz: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "is compressed by zstd: unpack it first"),
    (b"\x1f\x9d", "is compressed by compress: unpack it first"),
    (b"PK\3\4", "is a zip archive: unpack it first"),
    (b"\1\1\1\1\n", "is an MMDF mailbox (lines ^A^A^A^A): convert it by cnvtmbox -o or mutt first"),
    (b"\1\1\1\1\r\n", "is an MMDF mailbox (lines ^A^A^A^A): convert it by cnvtmbox -o or mutt first"),
    (b"BABYL OPTIONS:", "is a Babyl file of Emacs Rmail or Gnus: convert it by unrmail first"),
    (b"*mbx*\r\n", "is an mbx file of UW-IMAP: convert it by mailutil first"),
    (b"!BDN", "is a personal store of Outlook"),
    (b"\xcf\xad\x12\xfe", "is a folder of Outlook Express"),
    (b"// <!-- <mdb:mork", "is an index of Mozilla, not its mail"),
    (b"\xef\xbb\xbfFrom ", "begins with a byte order mark before its From_ line: remove these three octets first"),
    (b"\xff\xfeF\0r\0", "is UTF-16 text: convert it first"),
)
_FIELDS = (b"return-path:", b"received:", b"from:", b"date:", b"subject:", b"message-id:", b"delivered-to:", b"to:")
NOT_MBOX = "does not begin with a From_ line"


def refusal(first: bytes) -> str:
    """Why a file that begins so is no mbox."""
    for magic, told in _FIRST:
        if first.startswith(magic):
            return f"{NOT_MBOX}: it {told}"
    lines = first.splitlines()
    if lines and lines[0].startswith(b"From ") and b"\n" not in first and b"\r" in first:
        return f"{NOT_MBOX} that ends in LF: its lines end in CR alone, as on Mac OS 9"
    if lines and lines[0].startswith(b"From "):
        return f"{NOT_MBOX} that has a date"
    if lines and lines[0].lower().startswith(_FIELDS):
        return f"{NOT_MBOX}: it seems to be a single message"
    return NOT_MBOX


def directory(names: list[bytes]) -> str:
    """What a directory is that stands where an mbox was expected."""
    if {b"new", b"cur"} <= set(names):
        return "it is a Maildir, and its name has no slash at its end"
    if b"mbox" in names or any(name.endswith(b".emlx") for name in names) or b"Messages" in names:
        return "it is a folder of Apple Mail"
    if b".mh_sequences" in names or any(name.isdigit() for name in names):
        return "it is an MH folder, a file for each message"
    return "it is a directory"
