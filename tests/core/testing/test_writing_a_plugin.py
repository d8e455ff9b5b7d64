"""docs/writing-a-plugin.md, typed from its first line to its last: what is printed is what works."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.callers import Caller, fresh_directory
from tests.support.installed_copies import Installed, checked
from tests.support.places import ROOT

PAGE = (ROOT / "docs/writing-a-plugin.md").read_text()
PLUGINS = ("art-strace", "art-unshare", "art-jar")
"""Those of the page that are in the repository; the first one's files have no folder before their names."""
BLOCK = re.compile(r"^```(\w+)(?: title=\"(.+?)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "--- status "


class Typed(NamedTuple):
    """A command of the page, and what it says is printed."""

    command: str
    printed: str


def files(plugin: str) -> dict[str, str]:
    """What the page has of a plugin."""
    found = {}
    for _, title, content in BLOCK.findall(PAGE):
        of, name = title[3:].split("/", 1) if title.startswith("../") else (PLUGINS[0], title)
        if name and of == plugin:
            found[name] = content
    return found


def steps() -> list[Typed]:
    """The page in its order: what is typed, the files among it."""
    found = []
    for language, title, content in BLOCK.findall(PAGE):
        if title:
            found.append(Typed(f"cat > {title} <<'END OF FILE'\n{content}END OF FILE", ""))
        elif language == "console":
            for step in re.split(r"^\$ ", content, flags=re.MULTILINE)[1:]:
                command, _, printed = step.partition("\n")
                found.append(Typed(command, printed))
    return found


def as_shown(printed: str, shown: str) -> bool:
    """Whether `...` in what is shown, alone on a line or within one, stands for what was printed."""
    pattern = ""
    for line in shown.splitlines(keepends=True):
        pattern += "(?:.*\n)*" if line == "...\n" else re.escape(line).replace(r"\.\.\.", ".*")
    return re.fullmatch(pattern, printed) is not None


@pytest.mark.parametrize("plugin", PLUGINS)
def test_the_page_shows_the_plugin_as_it_is(plugin: str) -> None:
    source = ROOT / "contrib" / plugin
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=source, capture_output=True)
    there = {name for name in listed.stdout.decode().split() if not name.endswith(("README.md", "py.typed"))}
    assert files(plugin) == {name: (source / name).read_text() for name in there}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_page_can_be_typed(plain: Caller, installed: Installed) -> None:
    with fresh_directory(plain) as place:
        typed(plain, installed, place)


def typed(plain: Caller, installed: Installed, place: Path) -> None:
    wheels = place / "wheels"
    wanted = [f"{installed.wheel}[overlay]", "hatchling", "pytest"]
    checked([sys.executable, "-m", "pip", "wheel", "--quiet", f"--wheel-dir={wheels}", *wanted])
    env = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "XDG_CONFIG_HOME": str(place / "config")}
    env["PIP_NO_BUILD_ISOLATION"] = "0"  # pip's way to say that hatchling is not fetched anew each time.
    env["PYTEST_ADDOPTS"] = f"--basetemp={place}/basetemp"
    script = "\n".join(f"{{ {step.command}\n}} 2>&1\necho '{MARK}'$?" for step in steps())
    done = plain.run(["bash", "-c", script], cwd=place, env=env, timeout=280)
    printed = re.split(rf"^{MARK}(\d+)\n", done.stdout.decode(), flags=re.MULTILINE)
    for step, output, status in zip(steps(), printed[::2], printed[1::2], strict=False):
        assert status == "0", f"{step.command}\n{output}"
        assert as_shown(output, step.printed), f"{step.command}\n{output}"
    assert len(printed) == 2 * len(steps()) + 1
