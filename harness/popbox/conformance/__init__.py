"""Black-box conformance checks for any POP3 server: raw sockets, a table of small checks, named deviations."""
