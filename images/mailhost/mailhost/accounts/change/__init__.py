"""One change of the host's files: staged, journalled, made at once, and told to qmail-send."""
