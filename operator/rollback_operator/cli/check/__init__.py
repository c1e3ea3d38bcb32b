"""`rollback-operator check`: whether a policy could do its work, before it is applied."""
