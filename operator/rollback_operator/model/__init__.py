"""Observations as values: the target, its pods, samples, and the wording of messages.

Nothing here decides. Internal times are seconds since the epoch, as in samples; times of the API
are datetimes.
"""
