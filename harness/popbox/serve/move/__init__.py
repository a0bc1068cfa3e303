"""A move to this host: what the console shows of it, handed in by who starts the server, and the cut-over sheet."""
