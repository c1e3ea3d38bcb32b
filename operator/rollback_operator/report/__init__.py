"""What people read: the status, its conditions, Events and messages."""
