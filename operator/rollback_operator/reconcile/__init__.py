"""One pass over one policy: observe, decide, act, report, in that order and once."""
