"""The tracer contract, rule by rule."""
