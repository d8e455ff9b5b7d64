"""Git as transfers need it: its index, and the git of the host."""
