"""What joins: log lines, files and POP3 sessions to the message that they are about."""
