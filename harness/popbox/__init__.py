"""The harness that runs beside a mail host and proves what it does."""
