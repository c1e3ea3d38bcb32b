"""In-memory ports: they record calls, and fail on demand."""
