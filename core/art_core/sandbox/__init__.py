"""A sandbox for callers: opened, given commands, watched and ended."""
