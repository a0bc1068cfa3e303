"""Two sides of a box into verdicts and findings. Pure: no clock, no socket."""
