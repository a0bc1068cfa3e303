"""A Maildir as POP3 numbers it: order, sizes, octets, and removal at QUIT."""
