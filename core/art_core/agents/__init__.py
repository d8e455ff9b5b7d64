"""What agents need of their user's host: presets as data, what they grant, and hints."""
