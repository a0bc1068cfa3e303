"""Lock-step SMTP and POP3 clients on raw sockets: full log, a deadline on every read."""
