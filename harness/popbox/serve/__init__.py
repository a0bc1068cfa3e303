"""HTTP on the loopback interface over a mail host: what every request must pass, and the answers' one form."""
