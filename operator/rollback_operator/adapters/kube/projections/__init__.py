"""The API server's dictionaries -> values of the core. Pure; only what decisions need is kept.

A kind of object a module. What the values mean is told in core.
"""
