"""The database below everything: its tables, rows, transactions and locks."""
