"""The objects around a policy's target: read on demand, written with guards."""
