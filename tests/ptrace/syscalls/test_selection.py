"""What may stand after --trace-syscalls, and what it means."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from art_core.errors import UsageError
from art_ptrace.syscalls import numbers
from art_ptrace.syscalls.calls import Call, Found, call
from art_ptrace.syscalls.classes import AGENT, CLASSES
from art_ptrace.syscalls.filters import program
from art_ptrace.syscalls.selection import PARTLY, Selection, select
from art_ptrace.values.arguments import Read
from tests.support.filter_decisions import AARCH64, ALLOW, I386, TRACE, X86_64, decide

HEADERS = {numbers.X86_64: "unistd_64.h", numbers.I386: "unistd_32.h"}
MACHINES = [("x86_64", X86_64), ("aarch64", AARCH64)]


def test_names_classes_and_the_preset_add_up() -> None:
    assert select(["openat", "%network"]) == Selection(CLASSES["network"] | {"openat"})
    assert select([]) == select(["all"]) == Selection(None)
    assert select(["agent"]) == Selection(AGENT, PARTLY)
    assert select(["agent", "openat"]).partly == PARTLY - {"openat"}


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("opennat", "did you mean openat"),
        ("%fil", "did you mean %file"),
        ("conect", "connect"),
        ("agnet", "agent"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(word: str, hint: str) -> None:
    with pytest.raises(UsageError, match=re.escape(hint)):
        select([word])


@pytest.mark.parametrize("name", sorted({name for names in CLASSES.values() for name in names} | AGENT))
def test_every_name_in_a_class_is_a_call(name: str) -> None:
    assert select([name]) == Selection(frozenset({name}))


@pytest.mark.parametrize("architecture", HEADERS)
def test_names_are_the_kernel_headers_own(architecture: int) -> None:
    header = Path("/usr/include/x86_64-linux-gnu/asm", HEADERS[architecture])
    if not header.exists():  # On another machine.
        header = Path("/usr/include/asm-generic/unistd.h")
        architecture = numbers.AARCH64
    found = re.findall(r"^#define __NR(?:3264)?_(\w+) (\d+)$", header.read_text(), re.M)
    assert len(found) > 300
    known = numbers.names(architecture)
    other = {"fstatat": "newfstatat"}
    differing = {
        name: known.get(int(number))
        for name, number in found
        if known.get(int(number)) not in (name, other.get(name))
        and name not in ("syscalls", "arch_specific_syscall")
    }
    assert architecture == numbers.AARCH64 or differing == {}


def fetched(known: Call, read: Read, values: list[int], result: int) -> Found:
    """What is fetched of a call from its beginning to its end."""
    before = known.before(read, values) if known.before else {}
    return {**before, **(known.after(read, values, result) if known.after else {})}


def test_every_number_has_a_way_to_be_written() -> None:
    for architecture in (numbers.X86_64, numbers.AARCH64, numbers.I386, numbers.ARM):
        for number in (*range(600), 1 << 30, (1 << 30) + 59, 0xFFFFFFFF):
            known = call(architecture, number)
            for value in (0, 1, 1 << 31, (1 << 64) - 1):
                values = [value] * 6
                for result in (0, -2, -512, 1 << 40):
                    found = fetched(known, lambda a, n: b"", values, result)
                    assert all(isinstance(text, str) for text in known.arguments(values, found, result))
                    assert known.result(values, result, found)


def test_memory_of_any_content_can_be_written() -> None:
    """Structures full of ones, of zeros and of text: nothing raises, nothing breaks a line."""
    for fill in (b"\xff", b"\0", b"\n\x1b"):
        for number in range(470):
            known = call(numbers.X86_64, number)
            read = lambda address, size, fill=fill: (fill * size)[:size]  # noqa: E731
            values = [5000, 2, 3, 1, 4, 5]
            found = fetched(known, read, values, 3)
            line = ", ".join(known.arguments(values, found, 3)) + known.result(values, 3, found)
            assert line.isprintable() and line.isascii(), known.name


@pytest.mark.parametrize(("machine", "arch"), MACHINES)
def test_the_filter_stops_what_is_chosen_and_nothing_else(machine: str, arch: int) -> None:
    _, calls = numbers.native(machine)
    code = program(machine, select(["openat", "%network"]))
    chosen = {
        "openat",
        "execve",
        "execveat",
        "clone3",
        "io_uring_setup",
        "io_uring_enter",
        "io_uring_register",
    }
    chosen |= CLASSES["network"]
    for name, number in calls.items():
        assert (decide(code, arch, number) == ALLOW) == (name not in chosen), name


@pytest.mark.parametrize(("machine", "arch"), MACHINES)
@pytest.mark.parametrize("words", [[], ["openat"], ["agent"]])
def test_the_ways_out_are_closed(machine: str, arch: int, words: list[str]) -> None:
    _, calls = numbers.native(machine)
    code = program(machine, select(words))
    assert decide(code, arch, calls["clone3"]) == 38
    assert [decide(code, arch, number) for number in (425, 426, 427)] == [38, 38, 38]
    assert decide(code, arch, calls["clone"], 0x00800011) == 1
    assert decide(code, arch, calls["clone"], 0x11) == ALLOW
    assert decide(code, arch, calls["seccomp"], 1, 8) == 22
    assert decide(code, arch, calls["seccomp"], 1, 1) == ALLOW
    assert decide(code, arch, calls["execve"]) == TRACE
    assert decide(code, 0x12345678, 1) == 38


def test_foreign_calls_are_all_stopped_when_calls_are_chosen() -> None:
    chosen, everything = program("x86_64", select(["openat"])), program("x86_64", select([]))
    for arch, number in ((I386, 5), (X86_64, (1 << 30) | 2)):
        assert decide(chosen, arch, number) == TRACE
        assert decide(everything, arch, number) == ALLOW  # Stopped by the tracer itself.
    for code in (chosen, everything):
        assert decide(code, I386, 120, 0x00800000) == 1
        assert decide(code, X86_64, (1 << 30) | 56, 0x00800000) == 1
        assert decide(code, I386, 435) == decide(code, X86_64, (1 << 30) | 435) == 38


@pytest.mark.parametrize(("machine", "arch"), MACHINES)
def test_the_preset_looks_at_flags_in_the_filter(machine: str, arch: int) -> None:
    _, calls = numbers.native(machine)
    code = program(machine, select(["agent"]))
    openat, sendto = calls["openat"], calls["sendto"]
    assert decide(code, arch, openat, 0, 0, 0o2000000) == ALLOW
    for flags in (0o1, 0o2, 0o100, 0o1000, 0o20000000):
        assert decide(code, arch, openat, 0, 0, flags) == TRACE
    assert decide(code, arch, sendto, 3, 0, 0, 0, 0) == ALLOW
    assert (
        decide(code, arch, sendto, 3, 0, 0, 0, 1) == decide(code, arch, sendto, 3, 0, 0, 0, 1 << 32) == TRACE
    )
    assert decide(code, arch, calls["openat2"]) == TRACE
    assert decide(code, arch, calls["read"]) == ALLOW
