"""Rolls back bad releases of Kubernetes Deployments."""

__version__ = "0.1.0"
