"""The plan of a run, from options, settings, plugins and the host."""
