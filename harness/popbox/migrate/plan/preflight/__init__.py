"""What DNS says of a move before it is made: read, and judged."""
