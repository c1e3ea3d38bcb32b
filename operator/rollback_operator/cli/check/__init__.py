"""Two commands that only read, on the same survey of a policy's metrics and target.

`rollback-operator check`: whether a policy can judge releases, before it is applied.
`rollback-operator preflight`: whether a release could be taken back, before it is deployed.
"""
