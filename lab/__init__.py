"""The lab: a real Kubernetes, Prometheus and PostgreSQL on one Linux machine, for tests and demo.

Nothing here runs in production, and nothing here stands in for a server: every program is the
real one, built from its Go module or installed as a Debian package. Standard library only.
"""
