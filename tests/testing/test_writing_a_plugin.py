"""docs/writing-a-plugin.md, typed from its first line to its last: what is printed is what works."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from conftest import ROOT, Caller, Installed, fresh_directory

PAGE = (ROOT / "docs/writing-a-plugin.md").read_text()
SOURCE = ROOT / "contrib/art-strace"
BLOCK = re.compile(r"^```(\w+)(?: title=\"(.+?)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "--- status "


class Typed(NamedTuple):
    """A command of the page, and what it says is printed."""

    command: str
    printed: str


def files() -> dict[str, str]:
    """The files of the page's first plugin, which is in the repository."""
    found = {title: content for _, title, content in BLOCK.findall(PAGE) if title}
    return {title: content for title, content in found.items() if not title.startswith("../")}


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


def test_the_page_shows_the_plugin_as_it_is() -> None:
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=SOURCE, capture_output=True)
    there = set(listed.stdout.decode().split()) - {"README.md", "src/art_strace/py.typed"}
    assert files() == {name: (SOURCE / name).read_text() for name in there}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_page_can_be_typed(plain: Caller, installed: Installed) -> None:
    with fresh_directory(plain) as place:
        typed(plain, installed, place)


def typed(plain: Caller, installed: Installed, place: Path) -> None:
    pins = place / "pins.txt"
    pins.write_text(f"art-runtime @ file://{installed.wheel}\n")
    env = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
    env |= {"PIP_CONSTRAINT": str(pins), "XDG_CONFIG_HOME": str(place / "config")}
    env["PIP_NO_BUILD_ISOLATION"] = "0"  # pip's way to say that hatchling is not fetched anew each time.
    env["PYTEST_ADDOPTS"] = f"--basetemp={place}/basetemp"
    script = "\n".join(f"{{ {step.command}\n}} 2>&1\necho '{MARK}'$?" for step in steps())
    done = plain.run(["bash", "-c", script], cwd=place, env=env, timeout=280)
    printed = re.split(rf"^{MARK}(\d+)\n", done.stdout.decode(), flags=re.MULTILINE)
    for step, output, status in zip(steps(), printed[::2], printed[1::2], strict=False):
        assert status == "0", f"{step.command}\n{output}"
        assert as_shown(output, step.printed), f"{step.command}\n{output}"
    assert len(printed) == 2 * len(steps()) + 1
