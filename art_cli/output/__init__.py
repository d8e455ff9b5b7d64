"""What is printed, and how: lines of ART's own, a pager, progress, paths."""
