"""Capabilities, as strace(1) writes them. Source: capabilities(7), include/uapi/linux/capability.h."""

from __future__ import annotations

import struct

from art_ptrace.values.arguments import Argument, Read, Values, record
from art_ptrace.values.constants import Names, numbered
from art_ptrace.values.scalars import choice, named_bits, pointer

CAPABILITIES: Names = numbered(
    "CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID CAP_SETUID "
    "CAP_SETPCAP CAP_LINUX_IMMUTABLE CAP_NET_BIND_SERVICE CAP_NET_BROADCAST CAP_NET_ADMIN CAP_NET_RAW "
    "CAP_IPC_LOCK CAP_IPC_OWNER CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_CHROOT CAP_SYS_PTRACE CAP_SYS_PACCT "
    "CAP_SYS_ADMIN CAP_SYS_BOOT CAP_SYS_NICE CAP_SYS_RESOURCE CAP_SYS_TIME CAP_SYS_TTY_CONFIG CAP_MKNOD "
    "CAP_LEASE CAP_AUDIT_WRITE CAP_AUDIT_CONTROL CAP_SETFCAP CAP_MAC_OVERRIDE CAP_MAC_ADMIN CAP_SYSLOG "
    "CAP_WAKE_ALARM CAP_BLOCK_SUSPEND CAP_AUDIT_READ CAP_PERFMON CAP_BPF CAP_CHECKPOINT_RESTORE"
)
capability = choice(CAPABILITIES, "CAP_???")
_BITS: Names = {1 << number: f"1<<{name}" for number, name in CAPABILITIES.items()}
_version = choice(
    {
        0x19980330: "_LINUX_CAPABILITY_VERSION_1",
        0x20071026: "_LINUX_CAPABILITY_VERSION_2",
        0x20080522: "_LINUX_CAPABILITY_VERSION_3",
    },
    "_LINUX_CAPABILITY_VERSION_???",
)


def _header(raw: bytes) -> str:
    version, pid = struct.unpack("Ii", raw)
    return f"{{version={_version(version)}, pid={pid}}}"


HEADER = record(8, _header, narrow=True)


def _set(bits: int) -> str:
    names, left = named_bits(bits, _BITS)
    return "|".join([*names, *([f"{left:#x}"] if left else [])]) or "0"


def _sets(raw: bytes) -> str:
    """The three sets, of which the second half of the structure has the upper bits."""
    words = struct.unpack(f"{len(raw) // 4}I", raw)
    low, high = words[:3], words[3:] or (0, 0, 0)
    effective, permitted, inheritable = (_set(a | b << 32) for a, b in zip(low, high, strict=True))
    return f"{{effective={effective}, permitted={permitted}, inheritable={inheritable}}}"


def _fetch_sets(read: Read, value: int, values: Values, result: int) -> bytes | None:
    if not value or result < 0:
        return None
    size = 12 if read(values[0], 4) == struct.pack("I", 0x19980330) else 24
    found = read(value, size)
    return found if len(found) == size else None


def _render_sets(raw: bytes | None, value: int, values: Values, result: int | None) -> str:
    return pointer(value) if raw is None else _sets(raw)


SETS = Argument(fetch=_fetch_sets, render=_render_sets, narrow=True)
SETS_OUT = SETS._replace(at="exit")
