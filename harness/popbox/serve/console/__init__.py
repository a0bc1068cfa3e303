"""The console: pages over the journeys of one host, made on the server; they work without script."""
