"""What consoles and operators look at all the time: events as they are recorded, and metrics."""
