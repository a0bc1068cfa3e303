"""Which queued message is tried when, and what becomes of it."""
