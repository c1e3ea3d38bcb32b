"""What a pass needs of the outside world. A failure is a value, an exception a bug.

The adapters fulfil these protocols against real servers; unit tests swap them.
"""
