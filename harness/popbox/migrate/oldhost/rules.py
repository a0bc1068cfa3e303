"""Every rule of the audit, with its level and consequence. Facts (Q-..., H-...): see FACTS.md of qmail."""

from __future__ import annotations

from popbox.migrate.oldhost.findings import Level

RULES: dict[str, tuple[Level, str]] = {
    # any file
    "unreadable": ("error", "what it says is unknown, so nothing of it is reported or imported"),
    "name-not-usable": ("error", "mailhost takes no such name, so this address, domain or login is not imported"),
    # control/
    "rcpthosts-absent": ("error", "qmail-smtpd takes mail for every domain of the world: an open relay (Q-RCPT-1)"),
    "domain-not-in-rcpthosts": ("error", "its mail is refused with 553 (Q-RCPT-6)"),
    "rcpthosts-not-routed": ("warning", "mail for it is accepted and sent on by MX; it is no domain of this host"),
    "domain-in-locals": ("error", "virtualdomains has no effect for it: its mail goes to system accounts (Q-SEND-4)"),
    "virtualdomains-twice": ("error", "the last line wins; this one has no effect (Q-VDOM-6)"),
    "virtualdomains-no-colon": ("error", "qmail ignores the line (Q-VDOM-5)"),
    "carriage-return": ("error", "the CR is part of the name, so the line matches nothing (Q-RCPT-5, Q-VDOM-5)"),
    "domain-no-address": (
        "error",
        "no line of users/assign begins with its prefix: its mail goes to ~alias or bounces",
    ),
    "prefix-overlap": ("error", "mail for an address of one domain can be taken by the other's lines (H-9)"),
    # users/assign, users/cdb, users/domains/*
    "assign-absent": ("error", "no virtual address has a mailbox: mail goes to ~alias or bounces (Q-GETPW-3)"),
    "assign-format": ("error", "qmail-newu stops here: users/cdb keeps its old content (Q-ASSIGN-4, -6)"),
    "assign-no-dot": ("error", "qmail-newu stops: the file must end in a line with a dot (Q-ASSIGN-4)"),
    "assign-after-dot": ("error", "everything behind the line with the dot is ignored (Q-ASSIGN-3)"),
    "assign-empty-uid": ("error", "qmail reads it as uid 0 and defers all mail for it (Q-LSP-9)"),
    "assign-root": ("error", "qmail defers all mail for uid 0 (Q-LSP-9)"),
    "assign-twice": ("error", "the first line wins; this one has no effect (Q-ASSIGN-11)"),
    "assign-type": ("warning", "neither = nor +: qmail drops the octet and takes the rest as exact (Q-ASSIGN-2)"),
    "assign-plus-no-boundary": ("warning", "takes longer names as well, whose mail goes past .qmail (H-13)"),
    "assign-no-dash": ("warning", "the part of the address behind it never finds .qmail-default (H-17, Q-DOT-5)"),
    "assign-no-domain": ("warning", "no line of virtualdomains gives this prefix: no mail comes here"),
    "assign-drift": ("error", "the line stands in users/domains only: it has no effect until the files are joined"),
    "cdb-absent": ("error", "qmail-lspawn reads users/cdb, not users/assign: no line of it has an effect (Q-LSP-8)"),
    "cdb-old": ("warning", "users/assign was changed after qmail-newu ran: the last changes have no effect"),
    # homes and .qmail files
    "home-relative": ("error", "qmail-local bounces mail for it (Q-LOCAL-1)"),
    "home-dotdot": ("error", "the path climbs by `..`; nothing is read where it leaves the copy"),
    "home-missing": ("error", "all mail for it is deferred (Q-LOCAL-2)"),
    "home-outside": ("error", "the copy does not hold it: audit the host's root to see its mail"),
    "home-escapes": ("error", "a link leads out of the copy, or in a circle; it is not followed"),
    "home-writable": ("error", "writable for all: qmail-local defers all mail for it (Q-LOCAL-3)"),
    "dotqmail-missing": ("error", "mail goes to ./Mailbox, which POP3 never shows (H-16)"),
    "dotqmail-not-regular": ("error", "qmail takes a .qmail that is no regular file for absent (Q-DOT-7)"),
    "dotqmail-writable": ("error", "writable for all: qmail-local defers all mail (Q-DOT-8)"),
    "dotqmail-blank-first": ("error", "the first line is blank: qmail-local defers all mail (Q-LINE-2)"),
    "dotqmail-no-slash": ("error", "without the slash it is an mbox: deliveries to the directory are deferred (E-46)"),
    "dotqmail-device": ("error", "a device cannot be synced: mail waits until it bounces, it is not dropped (E-59)"),
    "dotqmail-carriage-return": ("error", "the CR is part of the path or address: mail goes to an odd file or bounces"),
    "dotqmail-forward": ("error", "not an address: qmail sends the mail to a name that does not exist (Q-LINE-5, -7)"),
    "dotqmail-discards": ("warning", "only comments: mail is taken and thrown away (Q-LINE-1)"),
    "catchall-lost": ("error", "its program or comment is not carried over: unknown addresses will bounce"),
    "delivery-not-opened": ("error", "no POP3 login shows it; on the new host the login's mailbox gets this mail too"),
    # stores
    "maildir-missing": ("error", "deliveries to it are deferred (Q-MDIR-4), POP3 logins fail (Q-POP3-1)"),
    "maildir-part-missing": ("error", "without tmp or new deliveries are deferred, without new or cur POP3 fails"),
    "message-not-regular": ("error", "no file: qmail-pop3d lists it and cannot send it; it is not imported"),
    "message-future": ("warning", "dated in the future: qmail-pop3d does not show it until then (Q-POP3-4)"),
    "uidl-twice": ("error", "two messages with one UIDL: a client fetches only one of them (Q-POP3-9)"),
    "uidl-not-rfc1939": ("warning", "not 1 to 70 printable octets (RFC 1939 §7): a strict server must give another id"),
    "uidl-dovecot": ("warning", "Dovecot gave UIDLs by its pop3_uidl_format: say it to import with --dovecot-uidl"),
    "uidl-courier": (
        "warning",
        "courier gave ids of its own: import takes them as UIDLs (--courier-uidl no: the names)",
    ),
    "maildir-folder": ("warning", "POP3 shows no folders: its messages are not imported"),
    "mbox-not-mbox": ("error", "it is no mbox, and what is in it is not imported"),
    "mbox-shared": ("warning", "one file under two names: it is one mailbox, whose mail is imported once"),
    "mbox-doubt": ("error", "the file does not say where its messages begin: an import copies it so, and ends with 1"),
    # logins
    "poppasswd-fields": ("error", "no one can log in with this line"),
    "login-twice": ("error", "the first line wins; this one has no effect (Q-CPP-9)"),
    "login-hash": ("error", "no crypt(3) hash, so no one can log in with it (Q-CPW-6); it is imported locked"),
    "login-plain": ("warning", "the password stands there as it is typed; it is hashed on import"),
    "login-des": ("warning", "traditional DES sees 8 octets of a password (Q-CPW-7); carried over as it is"),
    "login-home": ("error", "its home is no mailbox: the login opens nothing (Q-POP3-1)"),
    "login-no-address": ("warning", "no address leads to this login's mailbox: no new mail can come"),
    "login-missing": ("warning", "the mailbox has no login, so no one can fetch its mail; it is imported locked"),
    "login-unknown-user": ("error", "the real user is not in passwd: checkpoppasswd refuses the login (Q-CPP-3)"),
    "passwords-readable": ("error", "everybody on the old host can read the hashes (Q-PERM-7)"),
    # vpopmail
    "vpasswd-absent": ("error", "the domain has no mailboxes that vpopmail knows of"),
    "vpasswd-directory": ("error", "vchkpw finds no mailbox there: POP3 fails, mail is deferred"),
    "vpopmail-orphan": ("warning", "a mailbox directory that vpasswd does not name: no one can fetch its mail"),
    "vpasswd-sql": ("error", "without a dump of the database no login, no mailbox and no mail of it is imported"),
    "vpopmail-not-asked": ("error", "vdelivermail is not called, so no mail reaches the mailboxes of the domain"),
    "vpopmail-not-assigned": ("error", "no line of users/assign leads to the domain: its mail bounces"),
    # system accounts
    "shadow-absent": ("error", "passwd says the hash is in shadow, and there is none: accounts are imported locked"),
    "no-local-domain": ("error", "neither locals nor me: the accounts have no address"),
}
