"""Moving house: audit the old host, bring it over, prove that nothing was lost."""
