"""Traced processes: their stops, and waiting for them."""
