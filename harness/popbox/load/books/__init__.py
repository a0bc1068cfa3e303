"""What the processes of a load run wrote down, joined after all have ended, and the verdict on each message."""
