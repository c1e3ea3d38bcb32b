"""What is asked before an act, what becomes of an open Rollback, and what is proved afterwards."""
