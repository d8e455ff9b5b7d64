"""The core's programs that run inside of a sandbox."""
