"""What stands around the users: accounts, faults on a timeline, what each process costs, the last fetch, the search."""
