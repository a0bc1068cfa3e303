"""The report of a load run: one HTML file that needs nothing else, with a table behind each picture."""
