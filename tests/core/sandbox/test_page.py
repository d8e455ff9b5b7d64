"""docs/python.md: each example is run, and prints what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.callers import Caller, fresh_directory, own
from tests.support.installed_copies import Installed
from tests.support.places import ROOT

PAGE = (ROOT / "docs/python.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```\n\n```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
EACH = """
import contextlib, io, os, shutil, sys

for number, example in enumerate(eval(sys.stdin.read())):
    os.makedirs(f"{number}/project")
    os.chdir(str(number))
    with open("project/notes.txt", "w") as file: file.write("first\\n")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(example, f"example {number}", "exec"), {"__name__": "__main__"})
    print(ascii(printed.getvalue()))
    os.chdir("..")
    shutil.rmtree(str(number))
"""


def test_every_block_of_python_is_an_example() -> None:
    assert len(EXAMPLES) == PAGE.count("```python\n")


def test_the_examples_print_what_the_page_shows(caller: Caller, installed: Installed) -> None:
    with fresh_directory(caller) as place:
        own(caller, place)
        sources = ascii([source for source, _ in EXAMPLES])
        argv: list[str | bytes | Path] = [installed.python, "-W", "error", "-c", EACH]
        done = caller.run(argv, cwd=place, input=sources.encode())
        printed = done.stdout.decode().splitlines()
    for (source, shown), found in zip(EXAMPLES, printed, strict=False):
        pattern = re.escape(shown).replace(r"\.\.\.", ".*")
        assert re.fullmatch(pattern, eval(found)), f"{source}\n{eval(found)}"
    assert done.returncode == 0, done.stderr.decode()
    assert len(printed) == len(EXAMPLES)


@pytest.mark.parametrize("name", ["Sandbox", "AsyncSandbox"])
def test_the_page_names_every_method(name: str) -> None:
    import art_core

    of_the_command_line = {"default_command", "execute", "failure_note", "gateway_served", "grants"}
    of_the_command_line |= {"greetings", "hint", "notices", "plan", "sandbox", "close"}
    methods = {one for one in vars(getattr(art_core, name)) if not one.startswith("_")} - of_the_command_line
    assert [one for one in sorted(methods) if f"{one}(" not in PAGE and f"`{one}`" not in PAGE] == []
