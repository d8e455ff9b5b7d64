"""Points in time: names of states, and putting one back."""
