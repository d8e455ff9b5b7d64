"""Tracers that each break one rule of the contract: the default one, with something undone.

It is also a plugin, as the process that traces loads a tracer by its module.
"""

from __future__ import annotations

import errno
import os
import re
import subprocess
from collections.abc import Callable, Iterable, Sequence

import pytest

from art_core.contracts import Child, Context, Provider, Tracer, TraceRequest
from art_core.errors import ArtError
from art_core.host import bpf
from art_core.testing import TracerContract, TracerExample
from art_ptrace.hooks import art_tracers as whole_tracers
from art_ptrace.syscalls import numbers


class Tampered:
    """The default tracer; what it is asked for is changed, its filters, or the record it wrote."""

    def __init__(
        self,
        whole: Tracer,
        asked: Callable[[TraceRequest], TraceRequest] = lambda request: request,
        filters: Callable[[Sequence[bytes]], Sequence[bytes]] = lambda programs: programs,
        record: Callable[[list[str]], list[str]] | None = None,
        status: Callable[[int], int] = lambda status: status,
    ) -> None:
        self._whole = whole
        self._asked = asked
        self._filters = filters
        self._record = record
        self._status = status
        self._out_fd = -1

    def filters(self, request: TraceRequest) -> Sequence[bytes]:
        return self._filters(self._whole.filters(self._asked(request)))

    def run(self, spawn: Callable[[], Child], request: TraceRequest) -> int:
        def begun() -> Child:
            child = spawn()
            self._out_fd = child.out_fd
            return child

        status = self._whole.run(begun, self._asked(request))
        if self._record is not None:
            with open(f"/proc/self/fd/{self._out_fd}", "r+", newline="\n") as file:
                changed = "".join(self._record(file.read().splitlines(keepends=True)))
                file.seek(0)
                file.truncate()
                file.write(changed)
        return self._status(status)


class Early(Tampered):
    """Takes the isolation for a part of the command."""

    def run(self, spawn: Callable[[], Child], request: TraceRequest) -> int:
        def begun() -> Child:
            child = spawn()
            child.execs = 0
            return child

        return super().run(begun, request)


class Gossiping(Tampered):
    """Takes what the isolation forks for the commands'."""

    def run(self, spawn: Callable[[], Child], request: TraceRequest) -> int:
        from art_ptrace.loop import Loop

        def never(loop: Loop, tracee: object) -> bool:
            return False

        Loop._is_isolations = never  # type: ignore[method-assign, assignment]
        return super().run(spawn, request)


class Careless:
    """Records nothing, and has a process at its side whose end it does not notice."""

    def filters(self, request: TraceRequest) -> Sequence[bytes]:
        return ()

    def run(self, spawn: Callable[[], Child], request: TraceRequest) -> int:
        child = spawn()
        helper = subprocess.Popen(["sleep", "60"])
        child.release()
        status = os.waitpid(child.pid, 0)[1]
        helper.kill()
        helper.wait()
        return status


class Silent(Tampered):
    """Ends the sandbox when the record cannot be written, and says nothing."""

    def run(self, spawn: Callable[[], Child], request: TraceRequest) -> int:
        try:
            return super().run(spawn, request)
        except ArtError:
            return 9


class Trusting(Tampered):
    """Takes every word for a call."""

    def filters(self, request: TraceRequest) -> Sequence[bytes]:
        known = [word for word in request.syscalls if word not in ("opennat", "conect")]
        return super().filters(request._replace(syscalls=known))


def _without(pattern: str) -> Callable[[list[str]], list[str]]:
    return lambda lines: [line for line in lines if not re.search(pattern, line)]


def _of_one_process(lines: list[str]) -> list[str]:
    """Only what the first process did, its threads among it."""
    forks = {word.partition("/")[0] for line in lines if "fork" in line and (word := line.split()[0])} - {
        lines[0].partition("/")[0]
    }
    return [line for line in lines if line.partition("/")[0] not in forks]


def _merged(lines: list[str]) -> list[str]:
    place = next(at for at, line in enumerate(lines) if "thread1-7" in line)
    return [*lines[:place], lines[place].replace("\n", " "), *lines[place + 1 :]]


def _replaced(old: str, new: str) -> Callable[[list[str]], list[str]]:
    return lambda lines: [line.replace(old, new) for line in lines]


def _note(programs: Sequence[bytes]) -> Sequence[bytes]:
    with open("/var/tmp/art-kit-broken", "w"):
        pass
    os.unlink("/var/tmp/art-kit-broken")
    return programs


def _denying(programs: Sequence[bytes]) -> Sequence[bytes]:
    """With a filter in which no directory can be removed."""
    _, calls = numbers.native(os.uname().machine)
    number = calls.get("rmdir", calls["unlinkat"])
    words = [bpf.load(bpf.NUMBER), bpf.jump_if_equal(number, false=1)]
    words += [bpf.answer(bpf.errno(errno.EPERM)), bpf.answer(bpf.ALLOW)]
    return [*programs, bpf.assemble(words)]


def _opens_too(request: TraceRequest) -> TraceRequest:
    return request._replace(syscalls=[*request.syscalls, "openat"] if request.syscalls else ())


TRACERS: dict[str, Callable[[Tracer], Tracer]] = {
    "test_begins_with_the_command": Early,
    "test_whole_lines": lambda whole: Tampered(whole, record=_merged),
    "test_every_call": lambda whole: Tampered(whole, record=_without("thread2-13")),
    "test_errors": lambda whole: Tampered(whole, record=_replaced("ENOENT (No", "EPERM (No")),
    "test_escaped": lambda whole: Tampered(whole, record=_replaced(r"\33[2J", "\x1b[2J")),
    "test_follows_forks": lambda whole: Tampered(whole, record=_of_one_process),
    "test_follows_exec": lambda whole: Tampered(whole, record=_without(r'execve\("/bin/sh"')),
    "test_every_end": lambda whole: Tampered(whole, record=_without("killed by SIGTERM")),
    "test_signals": lambda whole: Tampered(whole, record=_without("--- stopped by")),
    "test_command_undisturbed": lambda whole: Tampered(whole, filters=_denying),
    "test_exit_status": lambda whole: Tampered(whole, status=lambda status: 9),
    "test_unknown_call": Trusting,
    "test_filters_are_pure": lambda whole: Tampered(whole, filters=_note),
    "test_filters_form": lambda whole: Tampered(whole, filters=lambda programs: [programs[0][:-3]]),
    "test_no_way_around": lambda whole: Tampered(whole, filters=lambda programs: ()),
    "test_chosen_calls": lambda whole: Tampered(whole, _opens_too),
    "test_agent": lambda whole: Tampered(whole, _opens_too),
    "test_jsonl": lambda whole: Tampered(whole, record=_without('"killed"')),
    "test_commands_alone": Gossiping,
    "test_ends_with_the_tracer": lambda whole: Careless(),
    "test_unwritable": Silent,
}
"""The rule that is broken, and the tracer that breaks it."""


def _provider(name: str, broken: Callable[[Tracer], Tracer]) -> Provider[Tracer]:
    (whole,) = whole_tracers()

    def create(context: Context) -> Tracer:
        return broken(whole.create(context))

    return whole._replace(name=name.replace("_", "-"), create=create)


def art_tracers() -> Iterable[Provider[Tracer]]:
    return [_provider(name, broken) for name, broken in TRACERS.items()]


def tracer_contract(broken: str) -> type[TracerContract]:
    class Broken(TracerContract):
        @pytest.fixture
        def tracer_example(self) -> TracerExample:
            return TracerExample(plugin=__name__, name=broken.replace("_", "-"))

    return Broken
