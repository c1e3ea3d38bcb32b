"""`rollback-operator compose`: the agent for services of a Docker Compose project.

The pass is the operator's own. `wiring` gives it the ports of `adapters/compose`, `agent` makes it
run, `command` is what a person types. Unlike other commands it knows one of them: the record is
shown by the pages of the kubectl plugin.
"""
