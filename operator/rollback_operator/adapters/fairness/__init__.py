"""What there is only so much of, shared out by namespace: turns, memory, time of the loop."""
