"""Plugins: how they are found, loaded, given their settings, and asked what they can do."""
