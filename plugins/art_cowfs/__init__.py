"""The default store: a layered file system in one SQLite file, over the host's workspace."""
