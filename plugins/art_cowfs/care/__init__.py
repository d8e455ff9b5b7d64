"""Care for a database: what is in it, what is wrong, and mending it."""
