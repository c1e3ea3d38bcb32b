"""The ports, kept in memory: they record what was asked, and can be told to fail next."""
