"""The record: as text, as JSON, as a summary."""
