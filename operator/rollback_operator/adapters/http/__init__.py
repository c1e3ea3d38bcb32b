"""What is not the API server, over HTTP: guarded addresses, bounded answers, probes, pages."""
