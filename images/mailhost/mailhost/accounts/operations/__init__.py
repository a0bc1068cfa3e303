"""What an operator can do to domains, mailboxes, forwards and logins."""
