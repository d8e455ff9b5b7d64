"""What the user set: the settings, their keys, the options of a run, and where files of ART lie."""
