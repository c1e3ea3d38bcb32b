"""Samples become counts per revision, route and pod, and what they are compared with."""
