"""The store contract, rule by rule."""
