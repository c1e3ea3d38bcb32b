"""Arithmetic that knows nothing of releases: odds, change points, counts over spans, quantiles."""
