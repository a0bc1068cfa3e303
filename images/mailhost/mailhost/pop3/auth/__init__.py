"""Who may log in: the password file, checks of a password, and the throttle before them."""
