"""Commands that plugins bring."""
