"""Fixtures of the whole test suite: an installed ART, the callers that use it, and a guard.

ART is tested as people use it: a wheel, installed into a virtual environment of its own, called
by root and by a plain user that is made for the session. Whatever a test leaves behind - a
process, a mount, a file in a public place - fails the session.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.accounts import Account, add_account, remove_account, remove_stale_accounts
from tests.support.budgets import TIMES, is_fuzz, scale
from tests.support.callers import Caller, fresh_directory, make_caller
from tests.support.installed_copies import Installed, build, make_venv, with_contrib
from tests.support.leftovers import GUEST_ONLY, leftovers, processes_of
from tests.support.places import (
    FUSE,
    FUSE_MODE,
    PLACES,
    PREFIX,
    ROOT,
    Places,
    is_deep,
    locked,
    public_entries,
    remove,
    remove_stale_places,
)
from tests.support.prerequisites import missing

# --- the session's own places ------------------------------------------------------------------


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """pytest's own, which keeps no tree that pytest could not remove by recursion in a later run."""
    yield tmp_path
    if is_deep(tmp_path):
        remove(tmp_path)


def pytest_configure(config: pytest.Config) -> None:
    # What nohup(1) or a shell's background job ignores, programs that are started here would ignore, too.
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGINT):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    worker = getattr(config, "workerinput", None)
    if worker is not None:
        token, install, work = worker["art_places"]
        config.stash[PLACES] = Places(token, Path(install), Path(work))
        return
    if config.option.collectonly:
        return
    if problem := missing():
        pytest.exit(problem, returncode=1)
    if os.geteuid() == 0 and FUSE.exists():
        # As on ordinary distributions: a plain user can mount as well.
        config.stash[FUSE_MODE] = FUSE.stat().st_mode
        FUSE.chmod(0o666)
    token = f"{PREFIX}{os.getpid()}"
    public = Path("/srv") if os.access("/srv", os.W_OK) else Path("/var/tmp")
    places = Places(token, Path("/tmp") / token, public / token)
    for place in (places.install, places.work):
        remove_stale_places(place.parent)
        place.mkdir(mode=0o755)
        place.chmod(0o755)
    config.stash[PLACES] = places


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    places = node.config.stash[PLACES]
    node.workerinput["art_places"] = (places.token, str(places.install), str(places.work))


def pytest_unconfigure(config: pytest.Config) -> None:
    places = config.stash.get(PLACES, None)
    if places is None or hasattr(config, "workerinput"):
        return
    if FUSE_MODE in config.stash:
        FUSE.chmod(config.stash[FUSE_MODE] & 0o777)
    for place in (places.install, places.work):
        remove(place)


@pytest.fixture(scope="session")
def places(pytestconfig: pytest.Config) -> Places:
    return pytestconfig.stash[PLACES]


# --- ART, installed ----------------------------------------------------------------------------


@pytest.fixture(scope="session")
def installed(places: Places) -> Installed:
    """ART's wheel and its dependencies (all extras but `dev`), installed once for all workers."""
    venv, dist = places.install / "venv", places.install / "dist"
    with locked(places.install / "lock"):
        if not (places.install / "ready").exists():
            wheel = build("wheel", ROOT, dist)
            make_venv(venv, f"{wheel}[all]")
            (places.install / "ready").touch()
    (wheel,) = dist.glob("*.whl")
    return Installed(bin_dir=venv / "bin", python=venv / "bin/python", art=venv / "bin/art", wheel=wheel)


@pytest.fixture(scope="session")
def with_overlayfs(installed: Installed) -> Path:
    """The `bin` of a virtual environment with ART and the plugin of contrib/art-overlayfs."""
    return with_contrib(installed, "overlayfs", "pytest", "hypothesis")


# --- callers -----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def plain_user(places: Places) -> Iterator[Account]:
    """An ordinary account. Run as root, the tests make one (home in /home) and remove it at the end;
    otherwise it is whoever runs them, with a home of its own."""
    if os.geteuid() != 0:
        me = pwd.getpwuid(os.getuid())
        home = places.install / f"home-{os.getpid()}"
        home.mkdir(mode=0o700)
        yield Account(me.pw_name, me.pw_uid, me.pw_gid, home)
        return
    name = f"{PREFIX}{os.getpid()}"
    with locked("/etc/login.defs"):
        remove_stale_accounts()
        add_account(name)
    entry = pwd.getpwnam(name)
    yield Account(name, entry.pw_uid, entry.pw_gid, Path(entry.pw_dir))
    alive = processes_of(entry.pw_uid)
    for pid in alive:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    litter = [
        path for path, uid in public_entries() if uid == entry.pw_uid and not path.name.startswith(PREFIX)
    ]
    with locked("/etc/login.defs"):
        remove_account(name)
    if alive or litter:
        pytest.fail(f"the test user left behind: {[*alive.values(), *map(str, litter)]}", pytrace=False)


@pytest.fixture(scope="session", params=["root", "plain"])
def caller(request: pytest.FixtureRequest, installed: Installed, places: Places) -> Caller:
    """Root, then a plain user: each test that asks for it runs once as each."""
    return make_caller(request.param, request, installed, places)


@pytest.fixture(scope="session")
def plain(request: pytest.FixtureRequest, installed: Installed, places: Places) -> Caller:
    """The plain caller alone, for what is the same for root."""
    return make_caller("plain", request, installed, places)


@pytest.fixture(scope="session")
def root(request: pytest.FixtureRequest, installed: Installed, places: Places) -> Caller:
    """The root caller alone, for what only root meets."""
    return make_caller("root", request, installed, places)


@pytest.fixture
def workspace(caller: Caller) -> Iterator[Path]:
    """A fresh, empty directory of the caller's, named `ws`, that lies in no masked place."""
    with fresh_directory(caller) as directory:
        yield directory


# --- nothing may stay behind -------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def nothing_stays_behind(pytestconfig: pytest.Config) -> Iterator[None]:
    """Fails the session when a process, a mount or a stub of a sandbox outlives it."""
    places = pytestconfig.stash[PLACES]
    already = {path for path in GUEST_ONLY if path.exists()}
    yield
    if hasattr(pytestconfig, "workerinput"):
        return  # the other workers still run: the controller looks, in pytest_sessionfinish
    problems = leftovers(places) + [str(path) for path in GUEST_ONLY if path.exists() and path not in already]
    if problems:
        pytest.fail("left behind by the tests: " + "; ".join(problems), pytrace=False)


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    distributed = getattr(config.option, "numprocesses", None)
    if hasattr(config, "workerinput") or not distributed or PLACES not in config.stash:
        return
    if problems := leftovers(config.stash[PLACES]):
        print("\nleft behind by the tests: " + "; ".join(problems), file=sys.stderr)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


# --- tests by random work ----------------------------------------------------------------------


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if is_fuzz(config):
        scale(items)


def pytest_report_header(config: pytest.Config) -> list[str]:
    if not is_fuzz(config):
        return []
    seed = config.getoption("--hypothesis-seed", None)
    return [f"fuzz: {TIMES} times as much as in `make test`, seed {seed}"]
