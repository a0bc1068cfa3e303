"""The users that Locust runs. Only this room is imported in its processes, and nothing of ours imports it."""
