"""How the old host keeps its accounts: one reader for each way, all give an `OldHost`."""
