"""What the programs of the mail host share of the operating system; imports nothing else of ours."""
