"""Where the mail host runs: this machine, Docker, or somewhere else."""
