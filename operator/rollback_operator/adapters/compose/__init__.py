"""A service of a Docker Compose project as a target: the ports on Docker, Compose and a disk."""
