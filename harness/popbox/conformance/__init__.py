"""Black-box conformance checks for any POP3 server: raw sockets, a table of small checks, named deviations.

A check's function in ``checks/`` has no docstring: its decorator holds its statement and its source (the RFC section).
"""
