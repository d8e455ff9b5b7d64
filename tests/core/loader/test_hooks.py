"""The hooks, through the examples of docs/hooks.md: what a reader copies must work."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from art_core.config.settings import Settings
from art_core.loader.plugins import Plugins
from tests.core.loader.distributions import distribution, importable
from tests.support.places import ROOT

PAGE = ROOT / "docs/hooks.md"
EXAMPLES = dict(
    re.findall(r"^### `def (\w+)\(.*?```python\n(.*?)```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
)
KINDS = {
    "art_stores": ("store", "nowhere", ("claims", "open")),
    "art_isolations": ("isolation", "bare", ("plan", "exit")),
    "art_mount_sources": ("mount_source", "team", ("load",)),
    "art_gateways": ("gateway", "closed", ("open",)),
    "art_tracers": ("tracer", "ends", ("filters", "run")),
}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    with importable(tmp_path):
        yield tmp_path


def test_every_hook_of_the_page_has_an_example() -> None:
    assert set(EXAMPLES) == {*KINDS, "art_cli_commands"}


@pytest.mark.parametrize("hook", sorted(KINDS))
def test_the_example_of_a_hook_works(hook: str, site: Path) -> None:
    kind, name, methods = KINDS[hook]
    distribution(site, "example", {f"example_{name}": EXAMPLES[hook]}, {name: f"example_{name}"})
    plugins = Plugins.load(Settings(), env={"HOME": "/"}, path=[str(site)])
    assert [(row.state, row.reason) for row in plugins.rows()] == [("ok", "")]
    created = plugins.create(kind, name)
    assert all(callable(getattr(created, method)) for method in methods)


def test_the_example_of_a_command_works(site: Path) -> None:
    import click
    from click.testing import CliRunner

    from art_cli.plugin_commands import hookspecs

    distribution(
        site,
        "example",
        {"example_hello": EXAMPLES["art_cli_commands"]},
        {"hello": "example_hello"},
        group="art.cli",
    )
    plugins = Plugins.load(
        Settings(), env={"HOME": "/"}, path=[str(site)], group="art.cli", hookspecs=[hookspecs]
    )
    assert [(row.state, row.reason) for row in plugins.rows()] == [("ok", "")]
    ((command,),) = plugins.hook.art_cli_commands()
    assert isinstance(command, click.Command)
    assert CliRunner().invoke(command, ["you"]).output == "hello you\n"
