"""Many commands on one database at once, for some seconds; `benchmarks/beside.py` does it for ten minutes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.callers import Caller
from tests.support.places import ROOT


@pytest.mark.slow
def test_runs_readers_snapshots_squash_and_gc_at_once_lose_nothing(plain: Caller) -> None:
    argv = [sys.executable, f"{ROOT}/benchmarks/beside.py", "--art", str(plain.art_program)]
    argv += ["--seconds", "15", "--branches", "4", "--directory", str(plain.place)]
    with plain.popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        out, _ = process.communicate(timeout=240)
    assert process.returncode == 0, out.decode()
    assert b" 0 wrong" in out
