"""One pass for one policy: observe, decide, act, report. Straight down, once."""
