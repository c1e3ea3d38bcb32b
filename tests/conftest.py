"""What holds for all tests: laws are never failed for the time that an example takes."""

import os

from hypothesis import settings

from tests.sizes import EXTENDED, PROFILE

# Machines are noisy; how fast something is belongs into a benchmark.
settings.register_profile("fast", deadline=None, max_examples=30)
settings.register_profile(EXTENDED, deadline=None, max_examples=200)
settings.load_profile(os.environ.get(PROFILE, "fast"))
