"""The host's files under a home: the workspace and the seeds, read and watched."""
