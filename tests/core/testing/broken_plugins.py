"""Plugins that each break one rule of their contract, and the rule.

Not collected with ART's tests: test_broken_plugins.py sees that the kit tells them all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest

from art_binds.hooks import art_mount_sources
from art_bwrap.hooks import art_isolations
from art_bwrap.isolation import ARGUMENTS
from art_core.contracts import (
    Exit,
    GuestFile,
    Isolation,
    Launch,
    Mount,
    MountSet,
    Origin,
    Provider,
    Run,
    Workspace,
)
from art_core.testing import IsolationContract, MountSourceContract, MountSourceExample
from tests.core.testing.broken_backends import BACKENDS, backend_contract
from tests.core.testing.broken_capabilities import BROKEN, capability_contract
from tests.core.testing.broken_programs import PROGRAMS, program_contract
from tests.core.testing.broken_stores import STORES, store_contract
from tests.core.testing.broken_tracers import TRACERS, tracer_contract

# --- isolations --------------------------------------------------------------------------------


class Tampered:
    """Bubblewrap, with what goes in or comes out changed."""

    def __init__(self, whole: Isolation, **changes: Callable[..., Any]) -> None:
        self._whole = whole
        self._changes = changes

    def plan(self, run: Run) -> Launch:
        launch = self._whole.plan(self._changed("run", run))
        content = launch.files[ARGUMENTS]
        assert isinstance(content, bytes)
        words = self._changed("words", content.decode("utf-8", "surrogateescape").split("\0")[:-1])
        arguments = "".join(f"{word}\0" for word in words).encode("utf-8", "surrogateescape")
        changed: Launch = self._changed(
            "launch", launch._replace(files={**launch.files, ARGUMENTS: arguments})
        )
        return changed

    def exit(self, status: int, report: Sequence[Mapping[str, object]], diagnostics: bytes) -> Exit:
        changed: Exit = self._changed("exit", self._whole.exit(status, report, diagnostics))
        return changed

    def _changed(self, what: str, thing: Any) -> Any:
        change = self._changes.get(what)
        return thing if change is None else change(thing)


def _without(words: list[str], *unwanted: str) -> list[str]:
    return [word for word in words if word not in unwanted]


def _shared_tmp(words: list[str]) -> list[str]:
    place = words.index("/tmp", words.index("1777"))
    while words[place - 1 : place + 1] != ["--tmpfs", "/tmp"]:
        place = words.index("/tmp", place + 1)
    return [*words[: place - 5], "--bind", "/tmp", "/tmp", *words[place + 1 :]]


def _covered(run: Run) -> Run:
    """Masks as mounts on the files themselves, which go when the host renames over them."""
    covers = [GuestFile(guest=path, contents=b"") for path in run.masks if os.path.isfile(path)]
    return run._replace(masks=(), files=covers)


def _write(run: Run) -> Run:
    with open("/var/tmp/art-kit-broken", "w"):
        pass
    os.unlink("/var/tmp/art-kit-broken")
    return run


def _writable(run: Run) -> Run:
    return run._replace(mounts=[mount._replace(writable=True) for mount in run.mounts])


def _read_only(run: Run) -> Run:
    return run._replace(mounts=[mount._replace(writable=False) for mount in run.mounts])


ISOLATIONS: dict[str, dict[str, Callable[..., Any]]] = {
    "test_masked_directory": {"run": lambda run: run._replace(masks=())},
    "test_masked_file": {"run": lambda run: run._replace(masks=())},
    "test_masks_survive_the_host": {"run": _covered},
    "test_mount_read_only": {"run": _writable},
    "test_mount_writable": {"run": _read_only},
    "test_mounts_in_order": {"run": lambda run: run._replace(mounts=run.mounts[::-1])},
    "test_guest_files": {"run": lambda run: run._replace(files=())},
    "test_environment": {"run": lambda run: run._replace(env={**run.env, b"EXTRA": b"1"})},
    "test_arguments": {"run": lambda run: run._replace(argv=run.argv[:-1])},
    "test_working_directory": {"run": lambda run: run._replace(cwd="/")},
    "test_identity": {"run": lambda run: run._replace(uid=4242)},
    "test_network_none": {"run": lambda run: run._replace(network="host")},
    "test_network_filtered": {"run": lambda run: run._replace(listen=run.listen[::-1])},
    "test_seeded_home": {"run": lambda run: run._replace(seeds_fd=-1)},
    "test_given_device": {
        "run": lambda run: run._replace(mounts=[mount._replace(device=False) for mount in run.mounts])
    },
    "test_user_namespaces": {"run": lambda run: run._replace(nested=True)},
    "test_controlling_terminal": {"run": lambda run: run._replace(terminal=False)},
    "test_plan_is_pure": {"run": _write},
    "test_pid_namespace": {"words": lambda words: _without(words, "--unshare-pid")},
    "test_tmp": {"words": _shared_tmp},
    "test_host_is_read_only": {"words": lambda words: [*words, "--bind", "/var/tmp", "/var/tmp"]},
    "test_plan_form": {"launch": lambda launch: launch._replace(report_fds=(1,))},
    "test_exit_status": {"exit": lambda ended: ended._replace(code=ended.code & 1)},
    "test_signal_status": {"exit": lambda ended: ended._replace(code=ended.code & 127)},
    "test_command_not_found": {"exit": lambda ended: ended._replace(code=1)},
    "test_silence_is_failure": {"exit": lambda ended: ended._replace(code=0)},
    "test_commands_starter": {"words": lambda words: _without(words, "--as-pid-1")},
}
"""The rule that is broken, and how."""


def _isolation_contract(changes: dict[str, Callable[..., Any]]) -> type[IsolationContract]:
    class Broken(IsolationContract):
        @pytest.fixture
        def isolation_provider(self) -> Provider[Isolation]:
            (provider,) = art_isolations()
            return provider._replace(create=lambda context: Tampered(provider.create(context), **changes))

    return Broken


# --- mount sources -----------------------------------------------------------------------------

FILE = "mounts.txt"


class Lines:
    """A mount source of one guest path a line, that breaks the rules named."""

    def __init__(self, broken: Iterable[str]) -> None:
        self._broken = frozenset(broken)

    def load(self, workspace: Workspace) -> MountSet:
        path = f"{workspace.path}/{FILE}"
        follow = "test_links_out_of_the_workspace" in self._broken
        if not os.path.lexists(path):
            return MountSet()
        if os.path.islink(path) and not follow:
            return MountSet()
        if "test_not_a_file" not in self._broken and not os.path.isfile(path):
            raise OSError("a directory, and not even an ArtError")
        with open(path, "rb") as file:
            content = file.read()
        mounts = []
        for number, line in enumerate(content.decode().splitlines()):
            if not line.startswith("/") and "test_malformed" not in self._broken:
                raise ValueError("a line that is no path")
            source = "." if "test_mounts" in self._broken else "/usr"
            mounts.append(Mount(source, line, Origin(path, f"line {number}")))
        if "test_leaves_no_trace" in self._broken:
            os.open(workspace.path, os.O_RDONLY)
        if "test_any_name" in self._broken and " " in path:
            return MountSet()
        return MountSet(mounts, {} if "test_evidence" in self._broken else {path: content})


SOURCES = [
    "test_any_name",
    "test_evidence",
    "test_leaves_no_trace",
    "test_links_out_of_the_workspace",
    "test_malformed",
    "test_mounts",
    "test_not_a_file",
]


def _source_contract(broken: str) -> type[MountSourceContract]:
    class Broken(MountSourceContract):
        @pytest.fixture
        def mount_source_example(self) -> MountSourceExample:
            (binds,) = art_mount_sources()
            return MountSourceExample(
                provider=binds._replace(name="lines", create=lambda context: Lines([broken])),
                file=FILE,
                asks=b"/opt/one\n",
                asks_else=b"/opt/two\n",
                malformed={"no path": b"opt\n"},
            )

    return Broken


# --- records -----------------------------------------------------------------------------------


class Mutable:
    key = "value"


def _fails(context: object) -> Sequence[Any]:
    raise RuntimeError("probe")


RECORDS: dict[str, dict[str, Any]] = {
    "test_record": {"contract": 99},
    "test_settings": {"settings": Mutable},
    "test_probe": {"probe": _fails},
}


def _record_contract(changes: dict[str, Any]) -> type[IsolationContract]:
    class Broken(IsolationContract):
        @pytest.fixture
        def isolation_provider(self) -> Provider[Isolation]:
            (provider,) = art_isolations()
            return provider._replace(**changes)

    return Broken


CONTRACTS: dict[str, tuple[type, str]] = {
    **{
        f"TestIsolation{n}": (_isolation_contract(how), rule)
        for n, (rule, how) in enumerate(ISOLATIONS.items())
    },
    **{f"TestSource{n}": (_source_contract(rule), rule) for n, rule in enumerate(SOURCES)},
    **{f"TestBackend{n}": (backend_contract(rule), rule) for n, rule in enumerate(BACKENDS)},
    **{f"TestStore{n}": (store_contract(rule), rule) for n, rule in enumerate(STORES)},
    **{f"TestProgram{n}": (program_contract(rule), rule) for n, rule in enumerate(PROGRAMS)},
    **{f"TestCapability{n}": (capability_contract(how), rule) for n, (rule, how) in enumerate(BROKEN)},
    **{f"TestTracer{n}": (tracer_contract(rule), rule) for n, rule in enumerate(TRACERS)},
    **{f"TestRecord{n}": (_record_contract(how), rule) for n, (rule, how) in enumerate(RECORDS.items())},
}
"""The class of tests for each broken plugin, and the one that has to fail."""

globals().update({name: contract for name, (contract, _) in CONTRACTS.items()})
