"""Arguments that are written by what another argument of the call says."""

from __future__ import annotations

from collections.abc import Sequence

from art_ptrace.structures import files, processes
from art_ptrace.values import constants, file_constants, network_constants, scalars
from art_ptrace.values.arguments import Argument, Read, Values
from art_ptrace.values.scalars import choice, flags, pointer


def open_mode(before: int) -> Argument:
    """The mode, where the flags (argument number `before`) ask for a new file."""

    def render(raw: object, value: int, values: Values, result: int | None) -> Sequence[str]:
        return (scalars.mode(value),) if values[before] & (0o100 | file_constants.O_TMPFILE) else ()

    return Argument(render=render, spread=True, narrow=True)


_GETLK, _SETTERS = (5, 36), (6, 7, 37, 38)


def _fetch_fcntl(read: Read, value: int, values: Values, result: int) -> bytes | None:
    return read(value, 32) if values[1] & 0xFFFFFFFF in (*_GETLK, *_SETTERS) else None


_descriptor_flags = flags({1: "FD_CLOEXEC"})
_seals = flags({1: "F_SEAL_SEAL", 2: "F_SEAL_SHRINK", 4: "F_SEAL_GROW", 8: "F_SEAL_WRITE"})


def _render_fcntl(raw: bytes | None, value: int, values: Values, result: int | None) -> Sequence[str]:
    command = values[1] & 0xFFFFFFFF
    if command in (1, 3, 9, 11, 1025, 1032, 1034):
        return ()
    if raw is not None and len(raw) == 32:
        return (files.lock(raw),)
    shown: dict[int, scalars.Show] = {
        0: scalars.signed32,
        2: _descriptor_flags,
        4: scalars.open_flags,
        8: scalars.signed32,
        10: scalars.signal_number,
        1030: scalars.signed32,
        1031: scalars.signed32,
        1033: _seals,
    }
    return (shown.get(command, scalars.pointer)(value),)


FCNTL = Argument(fetch=_fetch_fcntl, render=_render_fcntl, spread=True)


def _fetch_program(read: Read, value: int, values: Values, result: int) -> bytes | None:
    return read(value, 16) if values[0] & 0xFFFFFFFF == 1 else None


def _render_program(raw: bytes | None, value: int, values: Values, result: int | None) -> str:
    return processes.seccomp_program(raw) if raw and len(raw) == 16 else scalars.pointer(value)


PROGRAM = Argument(fetch=_fetch_program, render=_render_program)


def _render_option(raw: object, value: int, values: Values, result: int | None) -> str:
    return choice(network_constants.SOCKET_OPTIONS.get(values[1] & 0xFFFFFFFF, {}))(value)


OPTION = Argument(render=_render_option, narrow=True)


def _render_protocol(raw: object, value: int, values: Values, result: int | None) -> str:
    family = values[0] & 0xFFFFFFFF
    if family in (2, 10):
        return choice(network_constants.IP_PROTOCOLS, "IPPROTO_???")(value)
    return (
        choice(network_constants.NETLINK, "NETLINK_???")(value) if family == 16 else scalars.signed32(value)
    )


PROTOCOL = Argument(render=_render_protocol, narrow=True)


_FUTEX_TIMED, _FUTEX_BITS, _FUTEX_TWO = (0, 6, 9, 11, 13), (9, 10), (3, 4, 5, 12)


def _render_futex(raw: object, value: int, values: Values, result: int | None) -> Sequence[str]:
    """What comes after the operation and the value."""
    operation = values[1] & 0x7F
    parts = []
    if operation in _FUTEX_TWO:
        parts += [scalars.unsigned(values[3]), pointer(values[4])]
        if operation != 3:
            parts.append(scalars.hexadecimal(values[5]) if operation == 5 else scalars.unsigned32(values[5]))
    elif operation in _FUTEX_TIMED:
        parts.append(pointer(values[3]))
    if operation in _FUTEX_BITS:
        parts.append("FUTEX_BITSET_MATCH_ANY" if values[5] & 0xFFFFFFFF == 0xFFFFFFFF else f"{values[5]:#x}")
    return parts


FUTEX = Argument(render=_render_futex, spread=True, narrow=True)

_NEW_PROCESS_FIELDS = (
    # name, place on x86_64 and on aarch64, flags it depends on
    ("parent_tid", 2, 2, 0x00100000 | 0x00001000),
    ("tls", 4, 3, 0x00080000),
    ("child_tidptr", 3, 4, 0x01000000 | 0x00200000),
)


def _fetch_tid(read: Read, value: int, values: Values, result: int) -> bytes | None:
    """The new thread's id, as it stands in its parent's memory."""
    return read(values[2], 4) if values[0] & 0x00100000 and result > 0 else None


def _render_clone(raw: bytes | None, value: int, values: Values, result: int | None) -> Sequence[str]:
    parts = [f"child_stack={pointer(values[1])}", f"flags={scalars.clone_flags(values[0])}"]
    for name, there, on_arm, bits in _NEW_PROCESS_FIELDS:
        if values[0] & bits:
            told = f"[{int.from_bytes(raw, 'little')}]" if name == "parent_tid" and raw else None
            parts.append(f"{name}={told or pointer(values[on_arm if constants.ARM else there])}")
    return parts


CLONE = Argument(at="exit", fetch=_fetch_tid, render=_render_clone, spread=True)
"""All of clone(2): strace names its arguments, in its own order."""
