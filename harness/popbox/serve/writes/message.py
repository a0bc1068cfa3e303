"""What a client sends to have a message sent."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from popbox.serve.writes.common import Given

SENDER = "sender@popbox.invalid"  # RFC 2606: a name that no one can own
Plain = Annotated[str, Field(max_length=2_000, pattern=r"^[^\x00-\x1f\x7f]*$")]  # of one line
# What would end a command, or the address in it (RFC 5321 section 4.1.1), is in no address.
Envelope = Annotated[str, Field(max_length=900, pattern=r"^[^\x00-\x20\x7f<>]*$")]


class Attachment(Given):
    """A file to attach."""

    name: Plain = Field(min_length=1)
    type: str = Field(default="application/octet-stream", pattern=r"^[A-Za-z0-9.+-]{1,60}/[A-Za-z0-9.+-]{1,60}$")
    content: str = Field(description="base64")


class NewMessage(Given):
    """A message that is to be sent: `raw` or `raw_base64` as they are, else one that is made from fields."""

    sender: Envelope = Field(default=SENDER, alias="from", description="of the envelope, and of the From field")
    to: list[Annotated[Envelope, Field(min_length=1)]] = Field(min_length=1, max_length=100)
    raw: str | None = Field(default=None, description="header, empty line, body; LF or CR LF line ends")
    raw_base64: str | None = Field(default=None, description="the same as any octets")
    subject: Plain | None = None
    text: str | None = None
    html: str | None = None
    attachments: list[Attachment] | None = Field(default=None, max_length=100)
