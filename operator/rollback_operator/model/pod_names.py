"""What pods are called: regular expressions that find those of a Deployment or a ReplicaSet."""

import re

BASE_LENGTH = 58
"""Pod names are cut to 63 characters: a longer ReplicaSet name loses its end, its hash."""


def escaped(name: str) -> str:
    """Match an object's name literally; a hyphen needs no backslash, and people read this."""
    return re.escape(name).replace(r"\-", "-")


def of_deployment(name: str) -> str:
    """Match the pods of a Deployment, and those of others whose names begin alike."""
    return escaped(f"{name}-"[:BASE_LENGTH]) + ".*"


def survives(replica_set: str) -> bool:
    """Return whether a ReplicaSet's whole name stands in its pods' names."""
    return len(replica_set) < BASE_LENGTH


def of_replica_set(name: str) -> str:
    """Match the pods of a ReplicaSet whose name survives in theirs."""
    return f"{escaped(name)}-[a-z0-9]+"
