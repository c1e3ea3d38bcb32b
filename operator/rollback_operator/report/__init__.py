"""What people are told: the status, its conditions, Events and messages."""
