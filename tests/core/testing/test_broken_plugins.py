"""The conformance kit is worth something: it fails for plugins that break a rule, and says which."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from tests.core.testing import broken_plugins
from tests.support.places import ROOT


def test_each_broken_rule_is_told(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    file = broken_plugins.__file__
    chosen = [f"{file}::{name}::{rule}" for name, (_, rule) in broken_plugins.CONTRACTS.items()]
    options = ["-q", "-p", "no:cacheprovider", f"--junitxml={report}", f"--basetemp={tmp_path}/base"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *chosen], cwd=ROOT, capture_output=True, text=True
    )
    told: dict[str, set[str]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        for failure in case.iter("failure"):
            name = case.get("classname", "").rpartition(".")[2]
            told.setdefault(name, set()).add(_rule_of(failure.get("message", "")))
    expected = {name: {rule} for name, (_, rule) in broken_plugins.CONTRACTS.items()}
    assert told == expected, done.stdout


def _rule_of(message: str) -> str:
    """The test whose rule a failure names: `Failed: rule NAME: text`."""
    found = re.match(r"(?:Failed: )?rule ([a-z-]+): ", message)
    return f"test_{found[1].replace('-', '_')}" if found else message
