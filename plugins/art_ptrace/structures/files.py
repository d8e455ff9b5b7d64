"""What calls on files fill and take, as strace(1) writes them."""

from __future__ import annotations

import struct

from art_ptrace.values import constants, file_constants, scalars
from art_ptrace.values.arguments import Argument, Read, Values, record
from art_ptrace.values.scalars import pointer

_STAT = struct.Struct("16xI12xQ8xq" if constants.ARM else "24xI12xQq").unpack_from
"""st_mode, st_rdev and st_size."""


def _stat(raw: bytes) -> str:
    mode, device, size = _STAT(raw)
    what = f"st_rdev={scalars.device(device)}" if mode & 0o170000 in (0o20000, 0o60000) else f"st_size={size}"
    return f"{{st_mode={scalars.file_mode(mode)}, {what}, ...}}"


STAT = record(128 if constants.ARM else 144, _stat, at="exit")
_STATX_BITS = scalars.flags(file_constants.STATX_MASK)


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
_MOUNTED = scalars.flags(file_constants.FILE_SYSTEM_FLAGS)


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
_OPEN_HOW_RESOLVE = scalars.flags(file_constants.RESOLVE)


def _open_how(raw: bytes) -> str:
    flags, mode, resolve = struct.unpack("QQQ", raw)
    mode_part = f", mode={scalars.mode(mode)}" if flags & (0o100 | file_constants.O_TMPFILE) else ""
    return f"{{flags={scalars.open_flags(flags)}{mode_part}, resolve={_OPEN_HOW_RESOLVE(resolve)}}}"


OPEN_HOW = record(24, _open_how, narrow=True)


_MOST_ENTRIES = 1 << 20
"""Bytes; more are not counted."""


def _fetch_entries(read: Read, value: int, values: Values, result: int) -> bytes | None:
    return read(value, result) if 0 <= result <= _MOST_ENTRIES else None


def _render_entries(raw: bytes | None, value: int, values: Values, result: int | None) -> str:
    """How many entries of a directory there are (getdents(2)), as the program's memory has them."""
    if raw is None:
        return pointer(value)
    count = at = 0
    while at + 18 <= len(raw) and (length := int.from_bytes(raw[at + 16 : at + 18], "little")):
        count += 1
        at += length
    return f"{pointer(value)} /* {count} entr{'y' if count == 1 else 'ies'} */"


ENTRIES = Argument(at="exit", fetch=_fetch_entries, render=_render_entries)
ENTRIES64 = ENTRIES._replace(narrow=True)


def lock(raw: bytes) -> str:
    kind, whence, start, length, pid = struct.unpack_from("hh4xqqi", raw)
    names = scalars.choice(file_constants.LOCK_KINDS)(kind), scalars.choice(file_constants.SEEK)(whence)
    owner = f", l_pid={pid}" if pid else ""
    return f"{{l_type={names[0]}, l_whence={names[1]}, l_start={start}, l_len={length}{owner}}}"


LOCK = record(32, lock)
