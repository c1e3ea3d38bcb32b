"""The contract: the two resources, their reasons, their CRDs. No I/O, no decision."""
