"""Where `art` begins: the rest is imported where an interrupt already ends it without a word."""

from __future__ import annotations

import os


def main() -> None:
    """The console script; ends the process."""
    try:
        from art_cli.main import main as go_on
    except KeyboardInterrupt:
        os._exit(130)
    go_on()
