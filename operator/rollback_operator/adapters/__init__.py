"""A package per outside system; each implements its ports and imports no other system."""
