"""The store contract, as a class of tests that a plugin's author subclasses."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from typing import Literal

import pytest

from art_core.testing import providers
from art_core.testing.rules import Rule, apply
from art_core.testing.store import history, home, loans, maintenance, trees
from art_core.testing.store.case import KeptStore, StoreExample


class StoreContract(
    trees.TreeRules, home.HomeRules, maintenance.CareRules, loans.LentRules, history.PointRules
):
    """What every store has to keep. Override `store_example`:

        class TestMine(StoreContract):
            @pytest.fixture
            def store_example(self):
                return StoreExample(provider=PROVIDER, locator=lambda place: f"{place}/store")

    Each test is one rule, named in its failure. Some ask for a capability: `durable` (what was synced
    outlives the server), `live` (what is done is in the store while the home is mounted), `numbers` (inode
    numbers last), `renames` (a directory of the host is renamed in one step), `files`, `growth`,
    `history`, `maintenance`, `seeds` and `shares`. Runs as root and as a plain user; do both.
    """

    @pytest.fixture
    def store_example(self) -> StoreExample:
        raise NotImplementedError("override store_example: return the StoreExample to test")

    @pytest.fixture
    def rule(self, request: pytest.FixtureRequest, store_example: StoreExample) -> Rule:
        return apply(request, lambda: store_example.provider.capabilities)

    @pytest.fixture
    def place(self) -> Iterator[str]:
        directory = tempfile.mkdtemp(prefix="art-kit-", dir="/var/tmp")
        yield directory
        shutil.rmtree(directory)

    @pytest.fixture
    def kept(self, store_example: StoreExample, rule: Rule, place: str, tmp_path: object) -> KeptStore:
        return KeptStore(store_example, rule, place, str(tmp_path))

    def test_record(self, rule: Rule, store_example: StoreExample) -> None:
        """The provider's record has a plain name, a summary of one line, this core's contract version,
        and a set of capabilities."""
        providers.check_record(rule, store_example.provider, "store", None)

    def test_settings(self, rule: Rule, store_example: StoreExample) -> None:
        """Its settings are None, or a frozen record (NamedTuple or dataclass) of keys with defaults."""
        providers.check_settings(rule, store_example.provider)

    def test_probe(self, rule: Rule, store_example: StoreExample, tmp_path: object) -> None:
        """The probe never raises, and returns the reasons why the store cannot work on this host, each
        with its cure: none where the kit is run."""
        providers.check_probe(rule, store_example.provider, str(tmp_path))

    def test_claims(self, rule: Rule, kept: KeptStore) -> None:
        """A store claims its own locators, and makes nothing when it is asked."""
        before = sorted(os.listdir(kept.place))
        rule.holds(kept.stores.claims(kept.locator), f"{kept.locator!r} is not claimed")
        rule.equals(sorted(os.listdir(kept.place)), before, "the directory")

    def test_missing_store(self, rule: Rule, kept: KeptStore) -> None:
        """A store that does not exist is refused in one line that names it, unless it may be made."""
        modes: Sequence[Literal["read", "write"]] = ("read", "write")
        for mode in modes:
            said = kept.refused(lambda mode=mode: kept.stores.open(kept.locator, mode))  # type: ignore[misc]
            rule.holds(kept.locator in said, f"the refusal is {said!r}")

    def test_hidden(self, rule: Rule, kept: KeptStore) -> None:
        """All that a store keeps on the host while a home is mounted is among its hidden paths."""
        with kept.home(), kept.store("write") as store:
            hidden = set(store.hidden())
            rule.holds(all(path.startswith("/") for path in hidden), f"hidden paths: {sorted(hidden)}")
            made = {f"{kept.place}/{name}" for name in os.listdir(kept.place)} - {kept.host}
            rule.holds(made <= hidden, f"{sorted(made - hidden)} can be seen")
