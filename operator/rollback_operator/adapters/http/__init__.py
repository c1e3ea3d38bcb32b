"""HTTP to servers other than the API server: guarded addresses, bounded answers, probes, pages."""
