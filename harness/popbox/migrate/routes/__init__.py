"""What each address does on the old and on the new host, by the rules of `mailhost explain`."""
