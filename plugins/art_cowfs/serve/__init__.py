"""Processes that serve a mounted home, and the supervisor's side of them."""
