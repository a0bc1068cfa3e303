"""mbox files in all their dialects: surveyed once to see which one a file is in, then taken apart by that."""
