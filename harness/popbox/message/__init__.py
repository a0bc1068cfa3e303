"""A message as a test wants it: text, HTML, links, one-time codes and attachments of any octets, hostile ones too."""

from __future__ import annotations

from popbox.message.model import Attachment, Link, Mail
from popbox.message.parse import parse

__all__ = ["Attachment", "Link", "Mail", "parse"]
