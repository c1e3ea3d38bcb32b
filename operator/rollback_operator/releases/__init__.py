"""Records of each release: its health, its quarantine, past rollbacks and statements."""
