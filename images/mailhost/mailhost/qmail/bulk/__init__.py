"""Many addresses on a host that may be a copy: its paths, what each address does, which addresses are known."""
