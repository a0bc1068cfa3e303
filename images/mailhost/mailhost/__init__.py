"""Programs and rules of a single-uid mail host: qmail's files, accounts, POP3 and a stand-in MTA."""

__version__ = "0.1.0"  # pyproject's, by a test: the images read it here
