"""Brings what is known of a release up to date, and looks at what stands around it."""
