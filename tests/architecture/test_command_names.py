"""`art NAME` runs a program called NAME, so ART's own commands take no name of a program that all have."""

from __future__ import annotations
