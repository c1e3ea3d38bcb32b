"""The database that releases share: which migrations are applied."""
