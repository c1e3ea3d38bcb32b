"""The API server: one client, its paths, the memory budget of answers, the Lease, our resources."""
