"""Checks before an act, the course of an open Rollback, and the verification afterwards."""
