"""The load generator for Python: builds the Go program, runs it, and reads what it recorded.

What a user of the ticket service would have felt; it knows nothing of the cluster.
"""

from lab.loadgen.load import Failure, Load, RouteSummary, Summary, program

__all__ = ["Failure", "Load", "RouteSummary", "Summary", "program"]
