"""Databases for commands: opening one, its points in time, mounting it, carrying to and from it."""
