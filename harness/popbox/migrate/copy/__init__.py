"""Brings accounts and messages of an old host over, in passes that can be repeated."""
