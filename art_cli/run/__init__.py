"""A run, as the command line asks for it."""
