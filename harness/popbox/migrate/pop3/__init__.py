"""A POP3 host that is moved from or to: how it is reached and waited for, and who logs in there."""
