"""Regular expressions for the pod names of a Deployment or a ReplicaSet."""

import re

BASE_LENGTH = 58
"""Pod names are cut to 63 characters: a longer ReplicaSet name loses its end, its hash."""


def escaped(name: str) -> str:
    """Match an object's name literally; a hyphen needs no backslash, and people read this."""
    return re.escape(name).replace(r"\-", "-")


def of_deployment(name: str) -> str:
    """Match the pods of a Deployment, and of others with the same prefix."""
    return escaped(f"{name}-"[:BASE_LENGTH]) + ".*"


def survives(replica_set: str) -> bool:
    """Return whether pod names contain a ReplicaSet's complete name."""
    return len(replica_set) < BASE_LENGTH


def of_replica_set(name: str) -> str:
    """Match the pods of a ReplicaSet whose complete name is in their names."""
    return f"{escaped(name)}-[a-z0-9]+"
