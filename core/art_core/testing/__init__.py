"""The conformance kit: the rules of each contract, as tests that a plugin's author runs.

Needs pytest, which nothing else of ART imports. docs/conformance.md shows how to use it.
"""

from art_core.testing.isolation.contract import IsolationContract
from art_core.testing.mount_source import MountSourceContract, MountSourceExample
from art_core.testing.store.case import StoreExample
from art_core.testing.store.contract import StoreContract
from art_core.testing.tracer.case import TracerExample
from art_core.testing.tracer.contract import TracerContract

__all__ = [
    "IsolationContract",
    "MountSourceContract",
    "MountSourceExample",
    "StoreContract",
    "StoreExample",
    "TracerContract",
    "TracerExample",
]
