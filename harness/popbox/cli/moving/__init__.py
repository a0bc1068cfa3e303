"""What the commands of ``popbox migrate`` share: options, and reports; and ``verify merge``."""
