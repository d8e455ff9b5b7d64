"""The decisions of the system call filter, by running its program."""

from __future__ import annotations

import pytest

from art_bwrap import set_ids
from art_bwrap.seccomp import IO_URING, REFUSED, SOCKET_FAMILIES, filter_for
from art_core.host import bpf
from tests.support.filter_decisions import AARCH64, ALLOW, I386, X86_64, decide


def base(machine: str = "x86_64", *, foreign: bool = False, namespaces: bool = True) -> bytes:
    program = filter_for(machine, foreign=foreign, namespaces=namespaces)
    assert program is not None
    return program


@pytest.mark.parametrize("name", sorted(REFUSED["x86_64"]))
@pytest.mark.parametrize(("machine", "arch"), [("x86_64", X86_64), ("aarch64", AARCH64)])
def test_what_is_refused_answers_eperm(name: str, machine: str, arch: int) -> None:
    assert decide(base(machine), arch, REFUSED[machine][name]) == 1


@pytest.mark.parametrize("name", sorted(IO_URING))
@pytest.mark.parametrize(("machine", "arch"), [("x86_64", X86_64), ("aarch64", AARCH64)])
def test_io_uring_is_as_on_a_kernel_without_it(name: str, machine: str, arch: int) -> None:
    assert decide(base(machine), arch, IO_URING[name]) == 38


@pytest.mark.parametrize("number", [0, 1, 2, 3, 57, 59, 101, 257, 435, 448, 460])
def test_ordinary_calls_are_allowed(number: int) -> None:
    assert decide(base(), X86_64, number) == ALLOW


@pytest.mark.parametrize("number", [0, 250, 1 << 30, (1 << 30) + 1])
def test_calls_of_a_foreign_architecture_do_not_exist(number: int) -> None:
    assert decide(base(), I386, number) == 38


def test_calls_of_the_x32_kind_do_not_exist() -> None:
    assert decide(base(), X86_64, bpf.X32_BIT | 1) == 38


def test_a_setting_lets_foreign_architectures_run() -> None:
    assert decide(base(foreign=True), I386, 4) == ALLOW


@pytest.mark.parametrize("family", range(46))
def test_only_well_known_socket_families_are_made(family: int) -> None:
    expected = ALLOW if family in SOCKET_FAMILIES.values() else 1
    assert decide(base(), X86_64, 41, family) == expected


def test_nothing_is_typed_into_a_terminal() -> None:
    assert decide(base(), X86_64, 16, 0, 0x5412) == 1
    assert decide(base(), X86_64, 16, 0, 0xFFFFFFFF_00005412) == 1
    assert decide(base(), X86_64, 16, 0, 0x5413) == ALLOW


@pytest.mark.parametrize(("machine", "arch", "ptrace"), [("x86_64", X86_64, 101), ("aarch64", AARCH64, 117)])
def test_process_1_is_not_traced(machine: str, arch: int, ptrace: int) -> None:
    for request in (16, 0x4206):  # PTRACE_ATTACH, PTRACE_SEIZE
        assert decide(base(machine), arch, ptrace, request, 1) == 1
        assert decide(base(machine), arch, ptrace, request, 1 | 1 << 32) == 1
        assert decide(base(machine), arch, ptrace, request, 2) == ALLOW
    assert decide(base(machine), arch, ptrace, 0, 1) == ALLOW  # PTRACE_TRACEME


CLONE_NEWUSER, CLONE_NEWNS, SIGCHLD = 0x10000000, 0x20000, 17


def test_the_filter_can_stand_in_for_the_ban_of_namespaces() -> None:
    program = base(namespaces=False)
    assert decide(program, X86_64, 272, CLONE_NEWUSER) == 1
    assert decide(program, X86_64, 308) == 1
    assert decide(program, X86_64, 435) == 38
    assert decide(program, X86_64, 56, CLONE_NEWUSER | SIGCHLD) == 1
    assert decide(program, X86_64, 56, CLONE_NEWNS) == 1
    assert decide(program, X86_64, 56, SIGCHLD) == ALLOW


def test_otherwise_namespaces_are_left_to_bwrap() -> None:
    assert decide(base(), X86_64, 272, CLONE_NEWUSER) == ALLOW
    assert decide(base(), X86_64, 435) == ALLOW


SETTERS = [
    (machine, arch, setter)
    for machine, arch in (("x86_64", X86_64), ("aarch64", AARCH64), ("i386", I386), ("arm", 0x40000028))
    for setter in set_ids.SETTERS[machine]
]


@pytest.mark.parametrize(("machine", "arch", "setter"), SETTERS)
def test_no_mode_gives_the_rights_of_owner_or_group(machine: str, arch: int, setter: set_ids.Setter) -> None:
    program = filter_for(NATIVE.get(machine, machine), foreign=True, namespaces=True, set_ids=False)
    assert program is not None
    for number in (setter.number, setter.number | bpf.X32_BIT) if machine == "x86_64" else (setter.number,):
        for flags in (0o100, 0o1101, 0o20200002):
            arguments = [0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF]
            if setter.flags >= 0:
                arguments[setter.flags] = flags
            for mode, expected in ((0o4755, 1), (0o2644, 1), (0o1777, ALLOW), ((1 << 40) | 0o755, ALLOW)):
                arguments[setter.mode] = mode
                assert decide(program, arch, number, *arguments) == expected
        if setter.flags >= 0:  # What is no file's mode is not looked at.
            arguments[setter.flags], arguments[setter.mode] = 0o2000, 0o6755
            assert decide(program, arch, number, *arguments) == ALLOW
    assert decide(program, arch, set_ids.OPENAT2) == 38


NATIVE = {"i386": "x86_64", "arm": "aarch64"}


def test_no_file_gets_attributes() -> None:
    program = filter_for("x86_64", foreign=True, namespaces=True, set_ids=False, attributes=False)
    assert program is not None
    for arch, numbers in ((X86_64, (188, 189, 190, 463)), (I386, (226, 227, 228, 463))):
        assert {decide(program, arch, number) for number in numbers} == {95}
    assert decide(program, X86_64, bpf.X32_BIT | 188) == 95
    assert decide(program, X86_64, 191) == ALLOW
