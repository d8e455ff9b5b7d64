"""A branch that is open: for a run, for push and pull, for files, for a long read."""
