"""System calls: their numbers, arguments, results and classes, and which are recorded."""
