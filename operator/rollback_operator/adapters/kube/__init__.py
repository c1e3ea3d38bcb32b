"""The API server: one client, its paths, the memory of its answers, leases and our own resources."""
