"""Runs the conformance kit as the author of a plugin does."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from tests.support.callers import Caller


def keeps_every_rule(
    caller: Caller,
    python: Path,
    kit: Path,
    place: Path,
    skipped: Collection[str] = (),
    env: Mapping[str, str] | None = None,
) -> int:
    """How many tests of `kit` pass; nothing is skipped but for want of the capabilities `skipped`."""
    copy = place / kit.name
    copy.write_text(kit.read_text())
    argv: list[str | bytes | Path] = [python, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"]
    argv += ["-W", "error", f"--basetemp={place}/basetemp", copy]
    done = caller.run(argv, cwd=place, env=env or {}, timeout=280)
    printed = done.stdout.decode()
    assert done.returncode == 0, printed + done.stderr.decode()
    found = re.findall(r"^SKIPPED .*?: (.+)$", printed, re.MULTILINE)
    assert set(found) == {f"optional capability not claimed: {capability}" for capability in skipped}
    last = re.fullmatch(r"(\d+) passed.* in .*", printed.splitlines()[-1])
    assert last, printed
    return int(last[1])
