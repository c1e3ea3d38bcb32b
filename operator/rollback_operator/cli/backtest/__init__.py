"""The same core over history: a virtual clock, a virtual target, raw samples in memory.

Nothing here judges or decides. Whatever a live operator would be told at a moment is given to
core/ as it would be then, and what core/ says is written down.
"""
