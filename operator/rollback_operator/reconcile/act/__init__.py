"""The acts of a pass. Each step compares its aim with the live object before it acts."""
