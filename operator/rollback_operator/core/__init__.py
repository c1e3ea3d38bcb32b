"""Decisions. No I/O, no clock, no log: `now` is an argument, and what is seen comes in as values.

One maker each: the verdict (judge), the severity (matrix), the plan (plan), the status (status).
Times inside are seconds since the epoch, as samples carry them; the API's times are datetimes.
"""
