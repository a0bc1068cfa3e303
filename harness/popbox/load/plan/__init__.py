"""What a load run is: the TOML file, its model and its budgets."""
