"""The program strace(1) as a tracer of ART."""
