"""Optional parts of the store's contract, and what every store keeps to."""
