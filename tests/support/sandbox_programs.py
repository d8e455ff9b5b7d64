"""Programs that use a sandbox, as a caller runs them."""

from __future__ import annotations

import textwrap
from pathlib import Path

from tests.support.callers import Caller
from tests.support.installed_copies import Installed

BEGIN = """
import os, signal, sys, threading, time
from art_core import *
from art_core.sandbox.process import *

WORKSPACE, DATABASE = sys.argv[1], sys.argv[1] + "/../home.db"

def count(box):
    "How many processes are inside, beside those that count."
    return int(box.run(["sh", "-c", "set -- /proc/[0-9]*; echo $#"]).stdout) - 3

def alone(box):
    "Wait until there are none."
    until = time.monotonic() + 8
    while count(box):
        assert time.monotonic() < until, box.run(["sh", "-c", "cat /proc/*/cmdline"]).stdout
        time.sleep(0.01)

def raised(function, *arguments, **more):
    try:
        return function(*arguments, **more)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
"""


def program(caller: Caller, installed: Installed, workspace: Path, body: str) -> str:
    """Run a program that has to succeed and warn of nothing; what it printed."""
    source = BEGIN + textwrap.dedent(body)
    done = caller.run([installed.python, "-W", "error", "-X", "dev", "-c", source, workspace])
    assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode() + done.stdout.decode()
    return done.stdout.decode()
