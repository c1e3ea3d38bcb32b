"""The API server's dictionaries -> values of `model`. Pure; only what decisions need is kept.

There is a module per kind of object. `model` documents the values.
"""
