"""What is known of each release: its health on record, quarantine, what was done and said of it."""
