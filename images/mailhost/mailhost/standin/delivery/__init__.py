"""One delivery: a Maildir, an mbox, a program, a forward, or another host."""
