"""The conformance kit on ART's own plugins, as an author of a plugin would use it.

Not collected with ART's tests: test_default_plugins.py runs it with an installed wheel.
"""

from __future__ import annotations

import os

import pytest

from art_binds.hooks import art_mount_sources
from art_bwrap.hooks import Settings, art_isolations
from art_core.contracts import Isolation, Provider
from art_core.testing import (
    IsolationContract,
    MountSourceContract,
    MountSourceExample,
    StoreContract,
    StoreExample,
)
from art_cowfs.hooks import art_stores

PROGRAM = os.environ.get("KIT_BWRAP", "")
"""Which bwrap to use; the plugin's own choice when it is empty."""


class ThisBwrap(Settings):
    """The plugin's settings with another default for `program`."""

    def __new__(cls) -> ThisBwrap:
        return super().__new__(cls, program=PROGRAM)


class TestBubblewrap(IsolationContract):
    @pytest.fixture
    def isolation_provider(self) -> Provider[Isolation]:
        (provider,) = art_isolations()
        return provider._replace(settings=ThisBwrap) if PROGRAM else provider


class TestBinds(MountSourceContract):
    @pytest.fixture
    def mount_source_example(self) -> MountSourceExample:
        (provider,) = art_mount_sources()
        return MountSourceExample(
            provider=provider,
            file=".art/config/binds.json",
            asks=b'{"binds": [{"host": "data", "guest": "/opt/x"}, {"host": "/usr", "guest": "/opt/y"}]}',
            asks_else=b'{"binds": [{"host": "data/file", "guest": "/opt/file", "readonly": false}]}',
            malformed={
                "no JSON": b"{",
                "bytes that are no text": b"\xff\xfe",
                "a list": b"[]",
                "an unknown key": b'{"bind": []}',
                "an entry that is no object": b'{"binds": ["/usr"]}',
                "an unknown key of an entry": b'{"binds": [{"host": "/usr", "guest": "/opt/x", "rw": true}]}',
                "a missing key": b'{"binds": [{"host": "/usr"}]}',
                "a wrong type": b'{"binds": [{"host": "/usr", "guest": "/opt/x", "readonly": "no"}]}',
                "a key that stands twice": b'{"binds": [], "binds": []}',
                "a path out of the workspace": b'{"binds": [{"host": "../x", "guest": "/opt/x"}]}',
                "a host path that is missing": b'{"binds": [{"host": "missing", "guest": "/opt/x"}]}',
                "nesting without end": b"[" * 100_000,
            },
            beside={"data/file": b"contents"},
        )


class TestDatabases(StoreContract):
    @pytest.fixture
    def store_example(self) -> StoreExample:
        (provider,) = art_stores()
        return StoreExample(provider=provider, locator=lambda place: f"{place}/home.db")
