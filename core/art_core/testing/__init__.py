"""The conformance kit: the rules of each contract, as tests that a plugin's author runs.

Needs pytest, which nothing else of ART imports. docs/conformance.md shows how to use it.
"""

from art_core.testing.isolation import IsolationContract
from art_core.testing.mount_source import MountSourceContract, MountSourceExample
from art_core.testing.store import StoreContract
from art_core.testing.store_case import StoreExample
from art_core.testing.tracer import TracerContract
from art_core.testing.tracer_case import TracerExample

__all__ = [
    "IsolationContract",
    "MountSourceContract",
    "MountSourceExample",
    "StoreContract",
    "StoreExample",
    "TracerContract",
    "TracerExample",
]
