"""Whose descriptions the files of the corpus follow, and lines that several of them use."""

from __future__ import annotations

QMAIL, MUTT = "qmail mbox(5)", "mutt mbox(5) and mbox.c"
JWZ, C_CLIENT = "jwz.org/doc/content-length.html", "UW-IMAP c-client osdep/unix/unix.c and unix.h (VALID)"
SVR4, RFC = "SVR4 mail(1), mboxcl of qmail mbox(5)", "RFC 4155"
SOLARIS = "Solaris mail.local(8)"
BSD = "BSD mail.local(8), store() of mail.local.c"
OPEN = "mboxo or mboxrd, which no line tells"

A = b"From sue@sender.example Mon Sep 10 01:46:40 2001\n"
GIT = b"From 3a96760aa0000000000000000000000000000001 Mon Sep 17 00:00:00 2001\n"
PATCH = GIT + b"From: dev <d@example.org>\nSubject: [PATCH] x\n\ndiff\n-- \n2.1\n"
INNER = A + b"From: b@example.org\nSubject: inner\n\ninner text\n"
NOTES = (
    b"From MAILER-DAEMON Fri Dec  1 07:34:39 2000\nDate: 01 Dec 2000 07:34:39 +0100\n"
    b"From: Mail System Internal Data <MAILER-DAEMON@old.example>\n"
    b"Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nMessage-ID: <975652479@old.example>\n"
    b"X-IMAP: 0975652479 0000000010\nStatus: RO\n\n"
    b"This text is part of the internal format of your mail folder, and is not\na real message.\n\n"
)
