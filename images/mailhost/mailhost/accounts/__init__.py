"""What the operator declares, and how it becomes the files that qmail reads."""
