"""Structures in a program's memory, written as strace(1) writes them.

Layouts are those of 64-bit x86 and arm64; sources: the kernel's uapi headers and the man pages.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable

from art_ptrace import constants, scalars
from art_ptrace.arguments import Argument, Read, Values, array, record, shown_name
from art_ptrace.escaping import STRING_LIMIT, escaped, quoted
from art_ptrace.scalars import pointer

_ARM = constants.MACHINE == "aarch64"


# --- time --------------------------------------------------------------------------------------


def timespec(raw: bytes) -> str:
    seconds, nanoseconds = struct.unpack("qq", raw[:16])
    return f"{{tv_sec={seconds}, tv_nsec={nanoseconds}}}"


def timeval(raw: bytes) -> str:
    seconds, microseconds = struct.unpack("qq", raw[:16])
    return f"{{tv_sec={seconds}, tv_usec={microseconds}}}"


def _file_time(raw: bytes) -> str:
    nanoseconds = struct.unpack("qq", raw)[1]
    return {0x3FFFFFFF: "UTIME_NOW", 0x3FFFFFFE: "UTIME_OMIT"}.get(nanoseconds) or timespec(raw)


def _timer(write: Callable[[bytes], str]) -> Callable[[bytes], str]:
    return lambda raw: f"{{it_interval={write(raw[:16])}, it_value={write(raw[16:32])}}}"


TIMESPEC = record(16, timespec)
TIMESPEC_OUT = record(16, timespec, at="exit")
TIMEVAL = record(16, timeval)
TIMEVAL_OUT = record(16, timeval, at="exit")
FILE_TIMES = record(32, lambda raw: f"[{_file_time(raw[:16])}, {_file_time(raw[16:])}]")
TIMEVALS = record(32, lambda raw: f"[{timeval(raw[:16])}, {timeval(raw[16:])}]")
ITIMERSPEC = record(32, _timer(timespec))
ITIMERSPEC_OUT = record(32, _timer(timespec), at="exit")
ITIMERVAL = record(32, _timer(timeval))
ITIMERVAL_OUT = record(32, _timer(timeval), at="exit")


def _unslept(read: Read, value: int, values: Values, result: int) -> bytes | None:
    """What is left to sleep, which is only written when a signal came."""
    return read(value, 16) if value and result in (-4, -516) else None


UNSLEPT = Argument(
    at="exit",
    fetch=_unslept,
    render=lambda raw, value, values, result: timespec(raw) if raw and len(raw) == 16 else pointer(value),
)


# --- files -------------------------------------------------------------------------------------


def _stat(raw: bytes) -> str:
    if _ARM:
        mode, device, size = (
            struct.unpack_from("I", raw, 16)[0],
            *struct.unpack_from("Q", raw, 32),
            *struct.unpack_from("q", raw, 48),
        )
    else:
        mode = struct.unpack_from("I", raw, 24)[0]
        device, size = struct.unpack_from("Qq", raw, 40)
    what = f"st_rdev={scalars.device(device)}" if mode & 0o170000 in (0o20000, 0o60000) else f"st_size={size}"
    return f"{{st_mode={scalars.file_mode(mode)}, {what}, ...}}"


STAT = record(128 if _ARM else 144, _stat, at="exit")

_STATX_BITS = scalars.flags(constants.STATX_MASK)


def _statx(raw: bytes) -> str:
    mask, _, attributes = struct.unpack_from("IIQ", raw)
    mode = struct.unpack_from("H", raw, 28)[0]
    size = struct.unpack_from("Q", raw, 40)[0]
    known = scalars.hexadecimal(attributes)
    return (
        f"{{stx_mask={_STATX_BITS(mask)}, stx_attributes={known}, stx_mode={scalars.file_mode(mode)}, "
        f"stx_size={size}, ...}}"
    )


STATX = record(256, _statx, at="exit", narrow=True)


_MOUNTED = scalars.flags(constants.FILE_SYSTEM_FLAGS)


def _file_system(raw: bytes) -> str:
    kind, block, blocks, free, available, files, spare = struct.unpack_from("7Q", raw)
    first, second = struct.unpack_from("ii", raw, 56)
    name, fragment, flags = struct.unpack_from("QQQ", raw, 64)
    names = {0xEF53: "EXT2_SUPER_MAGIC", 0x01021994: "TMPFS_MAGIC", 0x9FA0: "PROC_SUPER_MAGIC"}
    return (
        f"{{f_type={names.get(kind, f'{kind:#x}')}, f_bsize={block}, f_blocks={blocks}, f_bfree={free}, "
        f"f_bavail={available}, f_files={files}, f_ffree={spare}, f_fsid={{val=[{first:#x}, {second:#x}]}}, "
        f"f_namelen={name}, f_frsize={fragment}, f_flags={_MOUNTED(flags)}}}"
    )


STATFS = record(120, _file_system, at="exit")
PAIR_OUT = record(8, lambda raw: "[{}, {}]".format(*struct.unpack("ii", raw)), at="exit", narrow=True)
INT_IN = record(4, lambda raw: f"[{struct.unpack('i', raw)[0]}]", narrow=True)
INT_OUT = record(4, lambda raw: f"[{struct.unpack('i', raw)[0]}]", at="exit", narrow=True)
OFFSET = record(8, lambda raw: f"[{struct.unpack('q', raw)[0]}]", narrow=True)

_OPEN_HOW_RESOLVE = scalars.flags(constants.RESOLVE)


def _open_how(raw: bytes) -> str:
    flags, mode, resolve = struct.unpack("QQQ", raw)
    mode_part = f", mode={scalars.mode(mode)}" if flags & (0o100 | constants.O_TMPFILE) else ""
    return f"{{flags={scalars.open_flags(flags)}{mode_part}, resolve={_OPEN_HOW_RESOLVE(resolve)}}}"


OPEN_HOW = record(24, _open_how, narrow=True)


def lock(raw: bytes) -> str:
    kind, whence, start, length, pid = struct.unpack_from("hh4xqqi", raw)
    names = scalars.choice(constants.LOCK_KINDS)(kind), scalars.choice(constants.SEEK)(whence)
    owner = f", l_pid={pid}" if pid else ""
    return f"{{l_type={names[0]}, l_whence={names[1]}, l_start={start}, l_len={length}{owner}}}"


LOCK = record(32, lock)


# --- processes ---------------------------------------------------------------------------------


def wait_status(status: int) -> str:
    if os.WIFEXITED(status):
        return f"{{WIFEXITED(s) && WEXITSTATUS(s) == {os.WEXITSTATUS(status)}}}"
    if os.WIFSIGNALED(status):
        core = " && WCOREDUMP(s)" if os.WCOREDUMP(status) else ""
        return f"{{WIFSIGNALED(s) && WTERMSIG(s) == {scalars.signal_number(os.WTERMSIG(status))}{core}}}"
    if os.WIFSTOPPED(status):
        return f"{{WIFSTOPPED(s) && WSTOPSIG(s) == {scalars.signal_number(os.WSTOPSIG(status))}}}"
    return "{WIFCONTINUED(s)}" if os.WIFCONTINUED(status) else f"[{status:#x}]"


def _fetch_status(read: Read, value: int, values: Values, result: int) -> bytes | None:
    return read(value, 4) if value and result > 0 else None


WAIT_STATUS = Argument(
    at="exit",
    fetch=_fetch_status,
    render=lambda raw, value, values, result: (
        f"[{wait_status(struct.unpack('i', raw)[0])}]" if raw and len(raw) == 4 else pointer(value)
    ),
    narrow=True,
)


def _usage(raw: bytes) -> str:
    return f"{{ru_utime={timeval(raw[:16])}, ru_stime={timeval(raw[16:32])}, ...}}"


RUSAGE = record(144, _usage, at="exit")
WAIT_USAGE = RUSAGE._replace(
    fetch=lambda read, value, values, result: (read(value, 144) or None) if value and result > 0 else None
)


def _limit(number: int) -> str:
    if number >= (1 << 64) - 1:
        return "RLIM64_INFINITY"
    return f"{number // 1024}*1024" if number and number % 1024 == 0 else str(number)


RLIMIT = record(16, lambda raw: "{{rlim_cur={}, rlim_max={}}}".format(*map(_limit, struct.unpack("QQ", raw))))
RLIMIT_OUT = RLIMIT._replace(
    at="exit",
    fetch=lambda read, value, values, result: (read(value, 16) or None) if value and result >= 0 else None,
)


def _signal_set(raw: bytes) -> str:
    (bits,) = struct.unpack("Q", raw)
    names = [constants.SIGNALS.get(number + 1, "").removeprefix("SIG") for number in range(64)]
    present = [name for number, name in enumerate(names) if bits >> number & 1]
    if len(present) > 32:
        absent = [name for number, name in enumerate(names) if not bits >> number & 1]
        return f"~[{' '.join(absent)}]"
    return f"[{' '.join(present)}]"


SIGNAL_SET = record(8, _signal_set, narrow=True)
SIGNAL_SET_OUT = record(8, _signal_set, at="exit", narrow=True)

_ACTION = scalars.flags(constants.ACTION_FLAGS)


def _action(raw: bytes) -> str:
    handler, flags = struct.unpack_from("QQ", raw)
    name = {0: "SIG_DFL", 1: "SIG_IGN"}.get(handler, f"{handler:#x}")
    restorer = ""
    if flags & 0x04000000:
        restorer = f", sa_restorer={struct.unpack_from('Q', raw, 16)[0]:#x}"
    return f"{{sa_handler={name}, sa_mask={_signal_set(raw[24:32])}, sa_flags={_ACTION(flags)}{restorer}}}"


SIGNAL_ACTION = record(32, _action)
SIGNAL_ACTION_OUT = record(32, _action, at="exit")


def signal_info(raw: bytes) -> str:
    """A siginfo_t (sigaction(2)), as it stands in the line of a signal."""
    number, _, code = struct.unpack_from("iii", raw)
    name = constants.SIGNALS.get(number, str(number))
    codes = constants.SIGNAL_CODES.get(number, {})
    known = codes.get(code) or constants.ANY_CODE.get(code) or str(code)
    parts = [f"si_signo={name}", f"si_code={known}"]
    if number == 17 and code > 0:
        pid, uid, status = struct.unpack_from("IIi", raw, 16)
        user, system = struct.unpack_from("qq", raw, 32)
        shown = str(status) if code == 1 else constants.SIGNALS.get(status, str(status))
        parts += [f"si_pid={pid}", f"si_uid={uid}", f"si_status={shown}", f"si_utime={user}"]
        parts.append(f"si_stime={system}")
    elif number in (4, 7, 8, 11) and code > 0 and code != 0x80:
        parts.append(f"si_addr={pointer(struct.unpack_from('Q', raw, 16)[0])}")
    elif number == 31 and code > 0:
        address, call, _ = struct.unpack_from("QiI", raw, 16)
        parts += [f"si_call_addr={pointer(address)}", f"si_syscall={call}"]
    elif code <= 0:
        parts += ["si_pid={}, si_uid={}".format(*struct.unpack_from("II", raw, 16))]
    return f"{{{', '.join(parts)}}}"


SIGNAL_INFO_OUT = record(128, signal_info, at="exit")


def seccomp_program(raw: bytes) -> str:
    return "{{len={}, filter={:#x}}}".format(*struct.unpack("H6xQ", raw))


_CLONE = scalars.flags(constants.CLONE_FLAGS)


def _clone_arguments(raw: bytes) -> str:
    flags, pidfd, child, parent, ends, stack, size, tls = struct.unpack("8Q", raw)
    parts = [f"flags={_CLONE(flags)}"]
    parts += [f"pidfd={pointer(pidfd)}"] if flags & 0x1000 else []
    parts += [f"child_tid={pointer(child)}"] if flags & 0x01200000 else []
    parts += [f"parent_tid={pointer(parent)}"] if flags & 0x00100000 else []
    parts += [f"exit_signal={scalars.signal_number(ends)}", f"stack={pointer(stack)}"]
    parts.append(f"stack_size={scalars.hexadecimal(size)}")
    parts += [f"tls={pointer(tls)}"] if flags & 0x00080000 else []
    return f"{{{', '.join(parts)}}}"


CLONE_ARGUMENTS = record(64, _clone_arguments, narrow=True)


def _uname(raw: bytes) -> str:
    return f"{{sysname={shown_name(raw[:65])}, nodename={shown_name(raw[65:130])}, ...}}"


UNAME = record(390, _uname, at="exit", narrow=True)


# --- polling -----------------------------------------------------------------------------------

_POLLED = scalars.flags(constants.POLL_EVENTS)
_EPOLLED = scalars.flags(constants.EPOLL_EVENTS)


def _poll(raw: bytes) -> str:
    fd, events, _ = struct.unpack("ihH", raw)
    return f"{{fd={fd}, events={_POLLED(events & 0xFFFF)}}}" if fd >= 0 else f"{{fd={fd}}}"


POLL = array(lambda values, result: values[1], 8, _poll, narrow=True)


def polled(raw: bytes) -> str:
    """The answers of poll(2) that are not empty."""
    parts = []
    for start in range(0, len(raw) - 7, 8):
        fd, _, answer = struct.unpack_from("iHH", raw, start)
        if answer and fd >= 0:
            parts.append(f"{{fd={fd}, revents={_POLLED(answer)}}}")
    return f"[{', '.join(parts)}]"


def _epoll_event(raw: bytes) -> str:
    events, word = struct.unpack("IxxxxQ" if _ARM else "=IQ", raw)
    return f"{{events={_EPOLLED(events)}, data={{u32={word & 0xFFFFFFFF}, u64={word}}}}}"


_EPOLL_SIZE = 16 if _ARM else 12
EPOLL_EVENT = record(_EPOLL_SIZE, _epoll_event)
EPOLL_EVENTS = array(lambda values, result: result, _EPOLL_SIZE, _epoll_event, at="exit")


def _descriptor_set(read: Read, value: int, values: Values, result: int) -> bytes | None:
    count = scalars.int32(values[0])
    return read(value, (min(max(count, 0), 1024) + 63) // 64 * 8) if value else None


def _render_set(raw: bytes | None, value: int, values: Values, result: int | None) -> str:
    if raw is None:
        return pointer(value)
    bits = int.from_bytes(raw, "little")
    return f"[{' '.join(str(fd) for fd in range(bits.bit_length()) if bits >> fd & 1)}]"


DESCRIPTOR_SET = Argument(fetch=_descriptor_set, render=_render_set)


# --- data in pieces ----------------------------------------------------------------------------


def _pieces(read: Read, address: int, count: int, limit: int | None) -> list[tuple[int, int, bytes]] | None:
    """Address, length and the first bytes of each piece; `limit` is how many bytes a call has filled."""
    if not address:
        return None
    found = read(address, 16 * min(count, STRING_LIMIT))
    if count and not found:
        return None
    pieces = []
    left = limit
    for start in range(0, len(found) - 15, 16):
        base, length = struct.unpack_from("QQ", found, start)
        size = length if left is None else min(length, left)
        pieces.append((base, length, read(base, min(size, STRING_LIMIT + 1)) if size else b""))
        if left is not None:
            left -= size
    return pieces


def _show_pieces(pieces: list[tuple[int, int, bytes]], count: int) -> str:
    parts = [
        f"{{iov_base={quoted(content) if content or not length else pointer(base)}, iov_len={length}}}"
        for base, length, content in pieces
    ]
    return f"[{', '.join(parts)}{', ...' if count > len(parts) else ''}]"


def _render_pieces(
    raw: list[tuple[int, int, bytes]] | None, value: int, values: Values, result: int | None
) -> str:
    return pointer(value) if raw is None else _show_pieces(raw, values[2])


PIECES = Argument(
    fetch=lambda read, value, values, result: _pieces(read, value, values[2], None), render=_render_pieces
)
PIECES_OUT = Argument(
    at="exit",
    fetch=lambda read, value, values, result: (
        _pieces(read, value, values[2], result) if result >= 0 else None
    ),
    render=_render_pieces,
)


def _fetch_words(read: Read, value: int, values: Values, result: int) -> list[bytes | int] | None:
    """The strings that an array of pointers leads to; the number at the end is a pointer that leads
    nowhere, or how many more there are at least (0)."""
    if not value:
        return None
    table = read(value, 8 * (STRING_LIMIT + 1))
    if len(table) < 8:
        return None
    words: list[bytes | int] = []
    for start in range(0, len(table) - 7, 8):
        (address,) = struct.unpack_from("Q", table, start)
        if not address:
            return words
        if len(words) == STRING_LIMIT:
            break
        data = read(address, STRING_LIMIT + 1)
        if not data:
            words.append(address)
            return words
        words.append(data.partition(bytes(1))[0])
    words.append(0)
    return words


def _render_words(raw: list[bytes | int] | None, value: int, values: Values, result: int | None) -> str:
    if raw is None:
        return pointer(value)
    parts = [quoted(word) if isinstance(word, bytes) else f"{word:#x}" if word else "..." for word in raw]
    return f"[{', '.join(parts)}]"


WORDS = Argument(fetch=_fetch_words, render=_render_words)
"""argv of execve(2)."""
_MOST_VARIABLES = 1 << 16


def _fetch_count(read: Read, value: int, values: Values, result: int) -> int | None:
    """How many pointers there are before the NULL."""
    if not value:
        return None
    count = 0
    while count < _MOST_VARIABLES:
        table = read(value + 8 * count, 4096 - (value + 8 * count) % 4096)
        if len(table) < 8:
            return None
        for start in range(0, len(table) - 7, 8):
            if table[start : start + 8] == bytes(8):
                return count + start // 8
        count += len(table) // 8
    return count


VARIABLES = Argument(
    fetch=_fetch_count,
    render=lambda raw, value, values, result: (
        pointer(value) if raw is None else f"{value:#x} /* {raw} var{'' if raw == 1 else 's'} */"
    ),
)
"""envp: its values are nobody's business."""


# --- sockets -----------------------------------------------------------------------------------

ADDRESS_LIMIT = 128


def address(raw: bytes) -> str:
    """A struct sockaddr."""
    if len(raw) < 2:
        return f"{{sa_data={quoted(raw)}}}"
    (family,) = struct.unpack_from("H", raw)
    name = constants.FAMILIES.get(family, f"{family:#x}")
    if family == 1:
        return f"{{sa_family=AF_UNIX{_unix_path(raw[2:])}}}"
    if family == 2 and len(raw) >= 8:
        (port,) = struct.unpack_from("!H", raw, 2)
        return (
            f"{{sa_family=AF_INET, sin_port=htons({port}), "
            f'sin_addr=inet_addr("{socket.inet_ntop(socket.AF_INET, raw[4:8])}")}}'
        )
    if family == 10 and len(raw) >= 24:
        port, flow = struct.unpack_from("!HI", raw, 2)
        scope = struct.unpack_from("I", raw, 24)[0] if len(raw) >= 28 else 0
        return (
            f"{{sa_family=AF_INET6, sin6_port=htons({port}), sin6_flowinfo=htonl({flow}), "
            f'inet_pton(AF_INET6, "{socket.inet_ntop(socket.AF_INET6, raw[8:24])}", &sin6_addr), '
            f"sin6_scope_id={scope}}}"
        )
    if family == 16 and len(raw) >= 12:
        pid, groups = struct.unpack_from("II", raw, 4)
        return f"{{sa_family=AF_NETLINK, nl_pid={pid}, nl_groups={groups:08x}}}"
    return f"{{sa_family={name}, sa_data={quoted(raw[2:])}}}"


def _unix_path(path: bytes) -> str:
    if not path:
        return ""
    if path[0] == 0 and len(path) > 1:
        return f', sun_path=@"{escaped(path[1:])}"'
    return f', sun_path="{escaped(path.partition(bytes(1))[0])}"'


def _fetch_address(read: Read, value: int, values: Values, result: int) -> bytes | None:
    size = scalars.int32(values[2])
    return read(value, min(size, ADDRESS_LIMIT)) or None if value and size > 0 else None


def _render_address(raw: bytes | None, value: int, values: Values, result: int | None) -> str:
    return pointer(value) if raw is None else address(raw)


ADDRESS = Argument(fetch=_fetch_address, render=_render_address, narrow=True)


def address_at(size: int) -> Argument:
    """An address whose length is argument number `size`."""

    def fetch(read: Read, value: int, values: Values, result: int) -> bytes | None:
        length = scalars.int32(values[size])
        return read(value, min(length, ADDRESS_LIMIT)) or None if value and length > 0 else None

    return Argument(fetch=fetch, render=_render_address, narrow=True)


def address_out(size: int) -> Argument:
    """An address that the call fills; argument number `size` points to its length."""

    def fetch(read: Read, value: int, values: Values, result: int) -> bytes | None:
        if not value or result < 0:
            return None
        length = read(values[size], 4)
        if len(length) < 4:
            return None
        return read(value, min(struct.unpack("I", length)[0], ADDRESS_LIMIT)) or None

    return Argument(at="exit", fetch=fetch, render=_render_address, narrow=True)


_MESSAGE_BITS = scalars.flags(constants.MESSAGE_FLAGS)


def _fetch_message(read: Read, value: int, filled: int | None) -> tuple[object, ...] | None:
    raw = read(value, 56) if value else b""
    if len(raw) < 56:
        return None
    name, length, pieces, count, control, size, flags = struct.unpack("QI4xQQQQi4x", raw)
    peer = read(name, min(length, ADDRESS_LIMIT)) if name and length else b""
    return peer, name, length, _pieces(read, pieces, count, filled), pieces, count, control, size, flags


def _render_message(raw: tuple[object, ...] | None, value: int, values: Values, result: int | None) -> str:
    if raw is None:
        return pointer(value)
    peer, name, length, pieces, at, count, control, size, flags = raw
    assert isinstance(peer, bytes) and isinstance(name, int) and isinstance(at, int)
    assert isinstance(count, int) and isinstance(control, int) and isinstance(flags, int)
    shown = _show_pieces(pieces, count) if isinstance(pieces, list) else pointer(at)
    beside = f", msg_control={pointer(control)}" if control and size else ""
    return (
        f"{{msg_name={address(peer) if peer else pointer(name)}, msg_namelen={length}, msg_iov={shown}, "
        f"msg_iovlen={count}{beside}, msg_controllen={size}, msg_flags={_MESSAGE_BITS(flags)}}}"
    )


MESSAGE = Argument(
    fetch=lambda read, value, values, result: _fetch_message(read, value, None), render=_render_message
)
MESSAGE_OUT = Argument(
    at="exit",
    fetch=lambda read, value, values, result: _fetch_message(read, value, result) if result >= 0 else None,
    render=_render_message,
)


def option_value(size: int, *, out: bool = False) -> Argument:
    """The value of a socket option; argument number `size` is its length, or points to it."""

    def fetch(read: Read, value: int, values: Values, result: int) -> bytes | None:
        if not value or (out and result < 0):
            return None
        if out:
            raw = read(values[size], 4)
            length = struct.unpack("i", raw)[0] if len(raw) == 4 else 0
        else:
            length = scalars.int32(values[size])
        return read(value, min(length, STRING_LIMIT + 1)) if length > 0 else None

    def render(raw: bytes | None, value: int, values: Values, result: int | None) -> str:
        if not raw:
            return pointer(value)
        return f"[{struct.unpack('i', raw)[0]}]" if len(raw) == 4 else quoted(raw)

    return Argument(at="exit" if out else "entry", fetch=fetch, render=render, narrow=True)


def _range(raw: bytes) -> str:
    return "{{cap_version={:#x}, cap_pid={}}}".format(*struct.unpack("Ii", raw))


CAPABILITIES_HEADER = record(8, _range, narrow=True)
