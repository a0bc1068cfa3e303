"""POP3 as values: states, commands and replies, without I/O."""
