"""What is read: logs that grow, rotate and are cut, and Maildirs. Reading goes on where the store says it ended."""
