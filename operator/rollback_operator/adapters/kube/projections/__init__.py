"""The API server's dictionaries -> values. Pure; only what decisions need is kept."""
