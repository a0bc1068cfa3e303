"""Reads an old mail host, in a directory, through ssh or in a container."""
