"""Arguments that are written by what another argument of the call says."""

from __future__ import annotations

from art_ptrace import file_constants, network_constants, scalars
from art_ptrace.arguments import Argument, Read, Values
from art_ptrace.escaping import quoted
from art_ptrace.scalars import choice, flags
from art_ptrace.structures import files, processes


def open_mode(before: int) -> Argument:
    """The mode, where the flags (argument number `before`) ask for a new file."""

    def render(raw: object, value: int, values: Values, result: int | None) -> str | None:
        return scalars.mode(value) if values[before] & (0o100 | file_constants.O_TMPFILE) else None

    return Argument(render=render, narrow=True)


_GETLK, _SETTERS = (5, 36), (6, 7, 37, 38)


def _fetch_fcntl(read: Read, value: int, values: Values, result: int) -> bytes | None:
    return read(value, 32) if values[1] & 0xFFFFFFFF in (*_GETLK, *_SETTERS) else None


_descriptor_flags = flags({1: "FD_CLOEXEC"})
_seals = flags({1: "F_SEAL_SEAL", 2: "F_SEAL_SHRINK", 4: "F_SEAL_GROW", 8: "F_SEAL_WRITE"})


def _render_fcntl(raw: bytes | None, value: int, values: Values, result: int | None) -> str | None:
    command = values[1] & 0xFFFFFFFF
    if command in (1, 3, 9, 11, 1025, 1032, 1034):
        return None
    if raw is not None and len(raw) == 32:
        return files.lock(raw)
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
    return shown.get(command, scalars.pointer)(value)


FCNTL = Argument(fetch=_fetch_fcntl, render=_render_fcntl)


def _fetch_program(read: Read, value: int, values: Values, result: int) -> bytes | None:
    return read(value, 16) if values[0] & 0xFFFFFFFF == 1 else None


def _render_program(raw: bytes | None, value: int, values: Values, result: int | None) -> str:
    return processes.seccomp_program(raw) if raw and len(raw) == 16 else scalars.pointer(value)


PROGRAM = Argument(fetch=_fetch_program, render=_render_program)
_PLAIN_PRCTL = (4, 8, 22, 36, 38)


def _fetch_name(read: Read, value: int, values: Values, result: int) -> bytes | None:
    return read(value, 16) if values[0] & 0xFFFFFFFF == 15 else None


def _render_prctl(raw: bytes | None, value: int, values: Values, result: int | None) -> str:
    """What an option of prctl(2) is set to: a name, a signal, a number, else as it is."""
    option = values[0] & 0xFFFFFFFF
    if raw:
        return quoted(raw.partition(bytes(1))[0])
    if option == 1:
        return scalars.signal_number(value)
    return scalars.unsigned(value) if option in _PLAIN_PRCTL else scalars.hexadecimal(value)


PRCTL = Argument(fetch=_fetch_name, render=_render_prctl, narrow=True)


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
