"""One file per outside system; each fulfils one port; none knows another."""
