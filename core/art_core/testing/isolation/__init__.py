"""The isolation contract, rule by rule."""
