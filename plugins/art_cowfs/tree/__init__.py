"""The tree of one branch in memory: what is known, what is dirty, and what is written when."""
