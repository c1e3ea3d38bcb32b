"""Limited resources, shared between namespaces: turns, memory, time of the event loop."""
