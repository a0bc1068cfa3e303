"""The POP3 side: protocol, maildrop, server, and the chain popup | checkpoppasswd | pop3d."""
