"""The way out of a sandbox whose network is filtered: its rules and its ports."""
