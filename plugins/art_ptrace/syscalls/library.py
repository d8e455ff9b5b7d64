"""python-ptrace's tables. Importing them as the package's modules loads all of it, which takes longer
than a sandbox needs to start; so each file is loaded alone."""

from __future__ import annotations

import os
from functools import cache
from importlib.machinery import SourceFileLoader
from importlib.util import find_spec, module_from_spec, spec_from_loader
from types import ModuleType


@cache
def module(name: str) -> ModuleType:
    """A module of the package `ptrace` that imports nothing itself, by its name there (`syscall.prototypes`).
    Raises ModuleNotFoundError."""
    package = find_spec("ptrace")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("No module named 'ptrace'", name="ptrace")
    path = os.path.join(package.submodule_search_locations[0], *name.split(".")) + ".py"
    loader = SourceFileLoader(f"{__name__}.{name}", path)
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    found = module_from_spec(spec)
    loader.exec_module(found)
    return found
