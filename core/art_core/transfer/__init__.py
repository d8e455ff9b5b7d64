"""Push, pull and comparison of a workspace between the host and a store."""
