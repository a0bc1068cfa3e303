"""A message from fields, as octets with LF line ends. Pure."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime

from popbox.serve.errors import ApiError
from popbox.serve.writes.message import NewMessage

LINES = policy.default.clone(linesep="\n")


def composed(new: NewMessage, message_id: str, at: datetime) -> bytes:
    """The message: text, HTML or both as alternatives, and attachments.

    Raises:
        ApiError: 422, the fields make no message.
    """
    try:
        message = EmailMessage(policy=LINES)
        message["From"] = new.sender or "MAILER-DAEMON@popbox.invalid"
        message["To"] = ", ".join(new.to)
        message["Subject"] = new.subject or ""
        message["Date"] = format_datetime(at)
        message["Message-ID"] = message_id
        if new.html is None or new.text is not None:
            message.set_content(new.text or "")
        if new.html is not None:
            (message.add_alternative if new.text is not None else message.set_content)(new.html, subtype="html")
        for one in new.attachments or ():
            kind, _, subtype = one.type.partition("/")
            message.add_attachment(decoded(one.content), maintype=kind, subtype=subtype, filename=one.name)
        return message.as_bytes()
    except ApiError:
        raise
    except Exception as error:  # the package's parser of header fields raises what it likes on odd addresses
        evidence = (type(error).__name__,)
        raise ApiError(422, "these fields make no message", "send octets as raw or raw_base64", evidence) from error


def decoded(text: str) -> bytes:
    """Octets that were sent as base64.

    Raises:
        ApiError: 422, they were not.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ApiError(422, "this is no base64", "RFC 4648 section 4, without line ends", (text[:40],)) from error
