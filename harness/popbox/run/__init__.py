"""Runs a scenario on a host and returns its result."""
