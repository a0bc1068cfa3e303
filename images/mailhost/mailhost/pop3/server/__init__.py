"""The POP3 daemon: workers, event loop, connections, TLS, logs and metrics."""
