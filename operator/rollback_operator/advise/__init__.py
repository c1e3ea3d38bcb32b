"""Advice on a policy before a release is bad: what it can be evaluated with, and how fast."""
