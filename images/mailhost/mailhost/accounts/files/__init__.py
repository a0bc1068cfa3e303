"""Each file that accounts write, read and rendered without loss."""
