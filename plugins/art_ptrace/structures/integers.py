"""Single numbers, as strace(1) writes them."""

from __future__ import annotations

import struct

from art_ptrace.values.arguments import record

PAIR_OUT = record(8, lambda raw: "[{}, {}]".format(*struct.unpack("ii", raw)), at="exit", narrow=True)
INT_IN = record(4, lambda raw: f"[{struct.unpack('i', raw)[0]}]", narrow=True)
INT_OUT = record(4, lambda raw: f"[{struct.unpack('i', raw)[0]}]", at="exit", narrow=True)
OFFSET = record(8, lambda raw: f"[{struct.unpack('q', raw)[0]}]", narrow=True)
