"""Counts become one verdict: is the new revision worse, is that proved, is the release to blame."""
