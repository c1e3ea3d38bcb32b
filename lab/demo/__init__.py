"""The demo: one story of a bad release, told on the lab or on a cluster of one's own.

`play` is the story, `stage` what it needs of a place; `on_lab` and `on_cluster` are the places.
"""
