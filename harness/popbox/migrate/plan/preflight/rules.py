"""Every rule of the look into DNS and at STARTTLS, with its level and consequence."""

from __future__ import annotations

from typing import Literal

Level = Literal["error", "warning"]

RULES: dict[str, tuple[Level, str]] = {
    "not-known": ("warning", "nothing can be said of it, neither good nor bad: look again before the day"),
    "mx-none": ("warning", "senders take the domain's own address (RFC 5321 §5.1): give it an MX, or change that"),
    "mx-null": ("error", "the domain says that it takes no mail (RFC 7505)"),
    "mx-null-among-others": ("error", "a null MX must stand alone (RFC 7505 §3): senders differ in what they do"),
    "mx-literal": ("error", "an MX names a host, not an address (RFC 1035 §3.3.9): senders find no such host"),
    "mx-alias": ("error", "an MX must not name an alias (RFC 2181 §10.3): some senders refuse it"),
    "mx-no-address": ("error", "mail that is sent there bounces or waits"),
    "mx-elsewhere": (
        "warning",
        "mail comes there too, and goes on to the old host until it is told of the new one",
    ),
    "mx-new-already": ("warning", "senders may bring mail to the new host already: its SMTP must not run yet"),
    "host-no-address": ("error", "no client and no server finds it by this name"),
    "same-address": ("warning", "both names lead to one host: what is read from one may be the other"),
    "ptr-none": ("error", "many servers refuse mail from an address without a name"),
    "ptr-not-back": ("error", "the name does not lead back to the address: many servers refuse mail from it"),
    "spf-twice": ("error", "two SPF records are an error for each receiver (RFC 7208 §4.5)"),
    "spf-without-new": ("error", "mail that the new host sends for the domain fails SPF: add it before the switch"),
    "spf-not-followed": ("warning", "whether it names the new host is not known: see to it by hand"),
    "ttl-long": ("warning", "resolvers hold the old value so long after the change: lower it in time"),
    "ttl-of-a-cache": (
        "warning",
        "no server of the zone answered: a cache had so much left, the real one can be longer",
    ),
    "smtp-not-known": (
        "warning",
        "nothing can be said of its TLS: it may not run yet, and many networks let no connection out to port 25",
    ),
    "starttls-none": ("warning", "mail to it is readable on the way; who demands TLS (MTA-STS, DANE) brings none"),
    "starttls-broken": ("error", "senders that try TLS, as most do, put their mail off or return it"),
    "tls-old": ("warning", "below TLS 1.2 (RFC 8996): senders of today fall back to clear text, or bring no mail"),
    "cert-name": ("warning", "most senders take it all the same; who checks (MTA-STS) brings no mail"),
    "cert-ended": ("warning", "most senders take it all the same; who checks (MTA-STS) brings no mail"),
    "cert-ends-soon": ("warning", "see that it is renewed on the new host, and not only on the old one"),
    "cert-chain": ("warning", "most senders take it all the same; who checks (MTA-STS) brings no mail"),
}
NOT_KNOWN = {"not-known", "smtp-not-known"}  # a question without an answer
