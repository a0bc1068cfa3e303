"""The cut-over sheet."""
