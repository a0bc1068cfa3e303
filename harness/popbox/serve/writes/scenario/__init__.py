"""A scenario that a client sends: run by a process of its own, which reaches the host through here alone."""
