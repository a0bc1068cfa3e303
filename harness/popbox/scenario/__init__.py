"""A scenario file as a value: its verbs, its rules, and errors that name file, step and key."""
