"""Messages over HTTP: what has come, parsed and as octets; waiting for it; proving that it has not."""
