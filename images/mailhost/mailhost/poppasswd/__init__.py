"""The password file and crypt(3) hashes, shared by accounts and pop3."""
