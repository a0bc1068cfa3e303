"""Load on a mail host, faults while it lasts, and the verdict on each message: users, their journals, the judge."""
