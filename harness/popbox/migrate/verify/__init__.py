"""Proves that a move lost nothing: reads each box on the old and on the new host, and names what is not the same."""
