"""The arguments of prctl(2), which each operation has others of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from art_ptrace.structures.capabilities import capability
from art_ptrace.values.arguments import Argument, Read, Values, fetch_string
from art_ptrace.values.constants import Names
from art_ptrace.values.scalars import Show, choice, hexadecimal, pointer, signal_number, unsigned
from art_ptrace.values.text_escapes import quoted

_OPERATIONS: Names = {
    1: "PR_SET_PDEATHSIG",
    2: "PR_GET_PDEATHSIG",
    3: "PR_GET_DUMPABLE",
    4: "PR_SET_DUMPABLE",
    7: "PR_GET_KEEPCAPS",
    8: "PR_SET_KEEPCAPS",
    15: "PR_SET_NAME",
    16: "PR_GET_NAME",
    21: "PR_GET_SECCOMP",
    22: "PR_SET_SECCOMP",
    23: "PR_CAPBSET_READ",
    24: "PR_CAPBSET_DROP",
    27: "PR_GET_SECUREBITS",
    28: "PR_SET_SECUREBITS",
    29: "PR_SET_TIMERSLACK",
    30: "PR_GET_TIMERSLACK",
    36: "PR_SET_CHILD_SUBREAPER",
    38: "PR_SET_NO_NEW_PRIVS",
    39: "PR_GET_NO_NEW_PRIVS",
    41: "PR_SET_THP_DISABLE",
    42: "PR_GET_THP_DISABLE",
    47: "PR_CAP_AMBIENT",
    0x53564D41: "PR_SET_VMA",
    0x59616D61: "PR_SET_PTRACER",
}
_SET_NAME, _AMBIENT, _VMA = 15, 47, 0x53564D41
_DUMPABLE: Names = {0: "SUID_DUMP_DISABLE", 1: "SUID_DUMP_USER", 2: "SUID_DUMP_ROOT"}
_ambient = choice(
    {
        1: "PR_CAP_AMBIENT_IS_SET",
        2: "PR_CAP_AMBIENT_RAISE",
        3: "PR_CAP_AMBIENT_LOWER",
        4: "PR_CAP_AMBIENT_CLEAR_ALL",
    },
    "PR_CAP_AMBIENT_???",
)
_FOUR = (hexadecimal,) * 4
_SHOWN: Mapping[int, Sequence[Show]] = {
    1: (signal_number,),
    2: (pointer,),
    **dict.fromkeys((3, 7, 21, 27, 30), ()),
    4: (choice(_DUMPABLE, "SUID_DUMP_???"),),
    8: (unsigned,),
    16: (pointer,),
    22: (choice({1: "SECCOMP_MODE_STRICT", 2: "SECCOMP_MODE_FILTER"}, "SECCOMP_MODE_???"), pointer),
    23: (capability,),
    24: (capability,),
    29: (unsigned,),
    36: (unsigned,),
    38: (unsigned, *_FOUR[:3]),
    41: (unsigned, *_FOUR[:3]),
}
"""What is shown after the operation, for those that do not take all four as numbers."""


def operation(value: int) -> str:
    number = value & 0xFFFFFFFF
    return _OPERATIONS.get(number) or f"{number:#x} /* PR_??? */"


def _fetch(read: Read, value: int, values: Values, result: int) -> bytes | None:
    """The text that two of them take."""
    number = values[0] & 0xFFFFFFFF
    if number == _SET_NAME:
        return read(value, 16)
    return fetch_string(read, values[4]) if number == _VMA and values[4] else None


def _render(text: bytes | None, value: int, values: Values, result: int | None) -> Sequence[str]:
    number = values[0] & 0xFFFFFFFF
    first, second, third, fourth = values[1:5]
    if number == _SET_NAME:
        return (quoted(text.partition(bytes(1))[0]) if text else pointer(value),)
    if number == _VMA and first == 0:
        name = pointer(fourth) if text is None else quoted(text)
        return "PR_SET_VMA_ANON_NAME", pointer(second), unsigned(third), name
    if number == _AMBIENT:
        which = capability(second) if first in (1, 2, 3) else hexadecimal(second)
        return _ambient(first), which, hexadecimal(third), hexadecimal(fourth)
    return [show(each) for show, each in zip(_SHOWN.get(number, _FOUR), values[1:5], strict=False)]


ARGUMENTS = Argument(fetch=_fetch, render=_render, spread=True, narrow=True)
"""All after the operation."""


def result(values: Values, result: int, found: object) -> str:
    """A result with its name, where it has one."""
    name = _DUMPABLE.get(result) if values[0] & 0xFFFFFFFF == 3 else None
    return f"{result} ({name})" if name else str(result)
