"""The database that releases share: what a policy allows to be done to it, and what was done."""
