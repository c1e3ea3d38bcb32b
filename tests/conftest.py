"""What holds for all tests: laws are never failed for the time that an example takes."""

from hypothesis import settings

# Machines are noisy; how fast something is belongs into a benchmark.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
