"""What an old host has, and what is wrong with it."""
