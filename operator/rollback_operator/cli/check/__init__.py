"""`rollback-operator check`: whether a policy can judge releases, before it is applied."""
