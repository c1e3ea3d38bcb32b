"""`rollback-operator backtest`: replays a past through the operator's own pure rooms.

A virtual clock, a virtual target and raw samples in memory stand in for the world. Nothing here
judges or decides: the pure rooms get what a live operator would know at each moment, and their
decisions are recorded.
"""
