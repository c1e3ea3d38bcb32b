"""The schema of a database across a rollback: what a release knows, and what is rolled back."""
