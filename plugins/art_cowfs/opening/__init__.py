"""Opening a database: its log, its format, and what is wrong with it."""
