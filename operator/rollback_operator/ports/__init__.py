"""Protocols for everything that a pass needs of the outside world.

An expected failure is a value, an exception is a bug. The adapters implement these protocols
against real servers; unit tests replace them.
"""
