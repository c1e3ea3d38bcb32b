"""A verdict becomes a plan, or the reason why there is none."""
