"""What the command sees of the host: the workspace, mounts, masks, an identity and an environment."""
