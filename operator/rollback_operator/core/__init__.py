"""Decisions. No I/O, no clock, no log: `now` is an argument, and what is seen comes in as values."""
