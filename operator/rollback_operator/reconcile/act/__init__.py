"""Carries a stored Rollback on, step by step: each looked at before it is done."""
