"""The API server: one client, its paths, the memory of answers, leases, our own resources."""
