"""Takes a bad release of a Kubernetes Deployment back, and never a good one."""

__version__ = "0.1.0"
