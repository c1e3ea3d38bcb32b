"""Decisions. No I/O, no clock, no log: `now` is an argument, what is seen comes in as values."""
