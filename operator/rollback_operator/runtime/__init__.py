"""The process and its life cycle: settings, wiring, watches, the queue and the metrics."""
