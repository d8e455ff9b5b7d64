"""The command line: its options in one table, how they are read, their help and completion."""
