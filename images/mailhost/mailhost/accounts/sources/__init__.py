"""Where declarations come from: accounts.toml, CSV, and the host as it is."""
