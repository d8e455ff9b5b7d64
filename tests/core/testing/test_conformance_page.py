"""The page of the conformance kit lists each rule with the sentence that its failure prints."""

from __future__ import annotations

import re

import pytest

from art_core.testing import IsolationContract, MountSourceContract, StoreContract, TracerContract
from art_core.testing.rules import rules
from art_fusefs.testing import BackendContract
from tests.support.places import ROOT

CONTRACTS = {
    "Rules of an isolation": IsolationContract,
    "Rules of a mount source": MountSourceContract,
    "Rules of a store": StoreContract,
    "Rules of a tracer": TracerContract,
    "Rules of a backend of the file system": BackendContract,
}


@pytest.mark.parametrize("heading", CONTRACTS)
def test_the_page_lists_the_rules(heading: str) -> None:
    page = (ROOT / "docs/conformance.md").read_text()
    section = page.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([a-z-]+)` \|(.*?)\| (.+) \|$", section, re.MULTILINE)
    listed = {name: (text, tuple(re.findall("`([a-z-]+)`", needed))) for name, needed, text in rows}
    assert listed == rules(CONTRACTS[heading])


@pytest.mark.parametrize("contract", CONTRACTS.values())
def test_each_rule_has_a_sentence(contract: type) -> None:
    assert all(text.endswith(".") for text, _ in rules(contract).values())
