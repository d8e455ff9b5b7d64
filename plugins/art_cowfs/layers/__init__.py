"""Layers of a branch: read along their chain, frozen, merged, collected."""
