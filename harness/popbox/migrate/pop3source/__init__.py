"""An import over POP3 alone: mailboxes of an old host on which there is no shell, read as their clients read them."""
