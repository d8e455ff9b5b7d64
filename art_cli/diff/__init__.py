"""Changes, for people to read and to choose from."""
