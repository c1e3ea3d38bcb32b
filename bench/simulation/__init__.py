"""Whole operators on virtual time against a simulated cluster, with faults drawn from a seed."""
