"""How qmail decides: pure readers and rules. Imports nothing else of this project."""
