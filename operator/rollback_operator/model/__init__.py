"""What is observed, as values: the target, its pods, samples, and how things are said of them.

Nothing here decides. Times inside are seconds since the epoch, as samples carry them; the API's
times are datetimes.
"""
