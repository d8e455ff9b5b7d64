"""Signals, as strace(1) writes them."""

from __future__ import annotations

import struct

from art_ptrace.values import constants, scalars
from art_ptrace.values.arguments import record
from art_ptrace.values.scalars import pointer


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
