"""A move away from popbox: a qmail home's mailboxes and logins as another server wants them."""
