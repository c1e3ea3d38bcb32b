"""What there is only so much of, shared out by namespace: turns, memory, and the time of the loop."""
