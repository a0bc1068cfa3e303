"""qmail's chain of three programs: popup, checkpoppasswd, pop3d."""
