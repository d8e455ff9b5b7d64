"""Fixtures of the whole test suite: an installed ART, the callers that use it, and a guard.

ART is tested as people use it: a wheel, installed into a virtual environment of its own, called
by root and by a plain user that is made for the session. Whatever a test leaves behind - a
process, a mount, a file in a public place - fails the session.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent
SYSTEM_PYTHON = "/usr/bin/python3"
PREFIX = "art-test-"
FILES_LOCKED, UID_IN_USE = 1, 4
"""What useradd(8) ends with when it cannot update the files of accounts, and when another one has the uid."""
UIDS = 30_000, 50_000
"""Where the uids of test users come from: the first that owns nothing."""
TOKEN = "TEST_SESSION"
"""A variable that every caller carries, so that processes which outlive the session are found."""

PREREQUISITES = {
    "bwrap": "bubblewrap",
    "dh": "debhelper",
    "dh_python3": "dh-python",
    "dpkg-buildpackage": "dpkg-dev",
    "gcc": "gcc",
    "getent": "libc-bin",
    "git": "git",
    "ip": "iproute2",
    "less": "less",
    "make": "make",
    "man": "man-db",
    "mandoc": "mandoc",
    "patch": "patch",
    "ps": "procps",
    "rsync": "rsync",
    "setpriv": "util-linux",
    "ssh": "openssh-client",
    "strace": "strace",
    "useradd": "passwd",
    "userdel": "passwd",
    "/usr/share/doc/build-essential": "build-essential",
    "/usr/share/doc/pybuild-plugin-pyproject": "pybuild-plugin-pyproject",
    "/usr/share/doc/python3-all": "python3-all",
    **{
        f"/usr/lib/python3/dist-packages/{library}": f"python3-{library}"
        for library in (
            "apsw",
            "click",
            "h11",
            "hatchling",
            "installer",
            "pathspec",
            "pluggy",
            "ptrace",
            "trio",
        )
    },
}
"""Programs the tests run, files they need, and the Debian packages that bring them."""


# --- the session's own places ------------------------------------------------------------------


@dataclass(frozen=True)
class Places:
    """Directories of one session, shared by its workers: `install` lies in /tmp, which the sandbox
    hides; `work` in a public place that it shows."""

    token: str
    install: Path
    work: Path


PLACES = pytest.StashKey[Places]()
FUSE = Path("/dev/fuse")
FUSE_MODE = pytest.StashKey[int]()


def _missing() -> str | None:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    packages = {
        package
        for tool, package in PREREQUISITES.items()
        if not (Path(tool).exists() if tool.startswith("/") else shutil.which(tool, path=path))
    }
    probe = [SYSTEM_PYTHON, "-c", "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"]
    try:
        if subprocess.run(probe, capture_output=True).returncode:
            packages.add("python3-venv")
    except FileNotFoundError:
        packages |= {"python3", "python3-venv"}
    if not packages:
        return None
    wanted = " ".join(sorted(packages))
    return f"the tests need programs that are missing here; install them: apt-get install {wanted}"


def _of_the_dead(name: str) -> bool:
    """Whether `name` was given by a session that is no more."""
    owner = name.removeprefix(PREFIX)
    return name.startswith(PREFIX) and owner.isdigit() and not Path("/proc", owner).exists()


def _remove_stale_places(parent: Path) -> None:
    for entry in parent.iterdir():
        if _of_the_dead(entry.name):
            remove(entry)


def remove(top: Path) -> None:
    """Remove what is there, however deep it is: shutil.rmtree calls itself for each level. Other file
    systems that are mounted in it stay."""
    subprocess.run(["rm", "-rf", "--one-file-system", "--", top], capture_output=True)


DEEPEST = 200
"""Levels below a directory that whoever removes it may call himself for."""


def _is_deep(top: Path) -> bool:
    """Whether directories go down there for too many levels, or for longer than a path may be."""
    directories = [(os.fspath(top), 0)]
    while directories:
        directory, depth = directories.pop()
        try:
            with os.scandir(directory) as entries:
                directories += [
                    (entry.path, depth + 1) for entry in entries if entry.is_dir(follow_symlinks=False)
                ]
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                return True
        if depth > DEEPEST:
            return True
    return False


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """pytest's own, which keeps no tree that pytest could not remove by recursion in a later run."""
    yield tmp_path
    if _is_deep(tmp_path):
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
    if problem := _missing():
        pytest.exit(problem, returncode=1)
    if os.geteuid() == 0 and FUSE.exists():
        # As on ordinary distributions: a plain user can mount as well.
        config.stash[FUSE_MODE] = FUSE.stat().st_mode
        FUSE.chmod(0o666)
    token = f"{PREFIX}{os.getpid()}"
    public = Path("/srv") if os.access("/srv", os.W_OK) else Path("/var/tmp")
    places = Places(token, Path("/tmp") / token, public / token)
    for place in (places.install, places.work):
        _remove_stale_places(place.parent)
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


@contextlib.contextmanager
def locked(path: Path | str) -> Iterator[None]:
    """Hold an exclusive lock that the other workers (and other sessions) also ask for."""
    with open(path, "a" if str(path).startswith(("/tmp/", "/srv/", "/var/tmp/")) else "r") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


# --- ART, installed ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Installed:
    """ART as a user has it: its wheel in a virtual environment that every account can reach."""

    bin_dir: Path
    python: Path
    art: Path
    wheel: Path

    @property
    def site_packages(self) -> Path:
        (found,) = self.bin_dir.parent.glob("lib/python3*/site-packages")
        return found


def build(kind: str, source: Path, out: Path) -> Path:
    """Build the `wheel` or the `sdist` of the tree at `source` into `out`; return its path."""
    out.mkdir(parents=True, exist_ok=True)
    checked([sys.executable, "-m", "build", f"--{kind}", "--no-isolation", "--outdir", str(out), str(source)])
    (made,) = out.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return made


def make_venv(directory: Path, *requirements: str, python: str = SYSTEM_PYTHON) -> Path:
    """Make a virtual environment with `requirements` in it; return its `bin` directory."""
    checked([python, "-m", "venv", "--without-pip", str(directory)])
    pip = [sys.executable, "-m", "pip", "--python", str(directory / "bin/python"), "install", "--quiet"]
    checked([*pip, "--disable-pip-version-check", "--root-user-action=ignore", *requirements])
    return directory / "bin"


def checked(argv: Sequence[str], **kwargs: Any) -> str:
    """Run a program that has to succeed; return what it printed. The umask lets others read what it makes."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, umask=0o022, **kwargs
    )
    if done.returncode:
        pytest.fail(
            f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout}{done.stderr}", pytrace=False
        )
    return done.stdout


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


# --- callers -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Account:
    name: str
    uid: int
    gid: int
    home: Path


@dataclass(frozen=True)
class Caller:
    """Somebody who calls ART, with a clean environment and a session of their own.

    `name` is "root" or "plain"; `user` is the account's name; `place` is a public directory of theirs.
    """

    name: str
    user: str
    uid: int
    gid: int
    home: Path
    place: Path
    art_program: Path
    env: Mapping[str, str] = field(default_factory=dict)

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """The caller's environment with `extra` added."""
        return {**self.env, **(extra or {})}

    def command(self, argv: Sequence[str | bytes | Path], env: Mapping[str, str] | None = None) -> list[str]:
        """`argv` as this caller, for who cannot switch users by themselves (pexpect); it keeps its pid."""
        become = []
        if os.geteuid() != self.uid:
            become = ["setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", "--init-groups"]
        variables = [f"{key}={value}" for key, value in self.environment(env).items()]
        return [*become, "env", "-i", *variables, *(os.fsdecode(word) for word in argv)]

    def popen(
        self, argv: Sequence[str | bytes | Path], *, env: Mapping[str, str] | None = None, **kwargs: Any
    ) -> subprocess.Popen[bytes]:
        """Start a program as this caller; its pid is the program's own."""
        if os.geteuid() != self.uid:
            kwargs |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        kwargs = {"cwd": self.place, "start_new_session": True, "umask": 0o022, **kwargs}
        return subprocess.Popen([os.fsencode(word) for word in argv], env=self.environment(env), **kwargs)

    def run(
        self,
        argv: Sequence[str | bytes | Path],
        *,
        input: bytes | None = None,
        timeout: float = 60,
        **kwargs: Any,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program as this caller and collect its output; without `input` it reads /dev/null."""
        kwargs = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **kwargs}
        kwargs.setdefault("stdin", subprocess.DEVNULL if input is None else subprocess.PIPE)
        with self.popen(argv, **kwargs) as process:
            try:
                out, err = process.communicate(input, timeout)
            except BaseException:
                process.kill()
                raise
        return subprocess.CompletedProcess(list(argv), process.returncode, out, err)

    def art(
        self,
        *args: str | bytes | Path,
        cwd: Path | str | bytes | None = None,
        env: Mapping[str, str] | None = None,
        input: bytes | None = None,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the installed `art` with these arguments."""
        return self.run(
            [self.art_program, *args], cwd=cwd or self.place, env=env, input=input, timeout=timeout
        )


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
        _remove_stale_accounts()
        _add_account(name)
    entry = pwd.getpwnam(name)
    yield Account(name, entry.pw_uid, entry.pw_gid, Path(entry.pw_dir))
    leftovers = _processes_of(entry.pw_uid)
    for pid in leftovers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    litter = [
        path for path, uid in _public_entries() if uid == entry.pw_uid and not path.name.startswith(PREFIX)
    ]
    with locked("/etc/login.defs"):
        _remove_account(name)
    if leftovers or litter:
        pytest.fail(f"the test user left behind: {[*leftovers.values(), *map(str, litter)]}", pytrace=False)


def _add_account(name: str) -> None:
    """As long as others who add one have the files locked, or take the number, it is tried again: a fixture
    of a session that fails once fails all its tests."""
    deadline = time.monotonic() + 30
    while True:
        argv = ["useradd", "--create-home", "--user-group", "--shell", "/bin/bash"]
        argv += [f"--uid={_unused_uid()}", name]
        if subprocess.run(argv, capture_output=True).returncode not in (FILES_LOCKED, UID_IN_USE):
            break
        assert time.monotonic() < deadline, f"{' '.join(argv)}: the files of accounts stay locked"
        time.sleep(0.2)
    assert pwd.getpwnam(name).pw_dir


def _unused_uid() -> int:
    """A number that is no account's, and that owns nothing in public places: files of an account that is gone
    are not the tests'."""
    taken = {entry.pw_uid for entry in pwd.getpwall()} | {uid for _, uid in _public_entries()}
    return next(number for number in range(*UIDS) if number not in taken)


def _remove_account(name: str) -> None:
    home = Path(pwd.getpwnam(name).pw_dir)
    deadline = time.monotonic() + 10
    while subprocess.run(["userdel", name], capture_output=True).returncode and time.monotonic() < deadline:
        time.sleep(0.2)
    remove(home)


def _remove_stale_accounts() -> None:
    """Accounts of test sessions that were killed."""
    for entry in pwd.getpwall():
        if _of_the_dead(entry.pw_name):
            _remove_account(entry.pw_name)


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


def make_caller(name: str, request: pytest.FixtureRequest, installed: Installed, places: Places) -> Caller:
    if name == "root":
        if os.geteuid() != 0:
            pytest.fail("this test calls ART as root; run the tests as root: sudo make test", pytrace=False)
        home = places.install / f"root-home-{os.getpid()}"
        home.mkdir(mode=0o700, exist_ok=True)
        account = Account("root", 0, 0, home)
    else:
        account = request.getfixturevalue("plain_user")
    place = places.work / f"{name}-{os.getpid()}"
    if not place.exists():
        place.mkdir()
        os.chown(place, account.uid, account.gid)
    env = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(account.home),
        "USER": account.name,
        "LOGNAME": account.name,
        "LANG": "C.UTF-8",
        TOKEN: places.token,
    }
    return Caller(name, account.name, account.uid, account.gid, account.home, place, installed.art, env)


@pytest.fixture
def workspace(caller: Caller) -> Iterator[Path]:
    """A fresh, empty directory of the caller's, named `ws`, that lies in no masked place."""
    with fresh_directory(caller) as directory:
        yield directory


@contextlib.contextmanager
def fresh_directory(caller: Caller, name: str = "ws") -> Iterator[Path]:
    """A new directory of `caller`, removed at the end."""
    parent = caller.place / f"{time.monotonic_ns():x}"
    for directory in (parent, parent / name):
        directory.mkdir()
        os.chown(directory, caller.uid, caller.gid)
    try:
        yield parent / name
    finally:
        remove(parent)
        assert not parent.exists()


# --- nothing may stay behind -------------------------------------------------------------------


def _processes() -> Iterator[Path]:
    return (entry for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _describe(process: Path) -> str:
    words = (process / "cmdline").read_bytes().split(b"\0")
    return f"process {process.name} ({b' '.join(words).decode(errors='replace').strip()[:200]})"


def _processes_of(uid: int) -> dict[int, str]:
    found = {}
    for process in _processes():
        with contextlib.suppress(OSError):
            status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines())
            if str(uid) in status["Uid"].split() and not status["State"].startswith("Z"):
                found[int(process.name)] = _describe(process)
    return found


def _processes_with(places: Places) -> dict[int, str]:
    """Processes that carry the session's token, or see one of its workspaces mounted."""
    token = f"{TOKEN}={places.token}".encode()
    mounted = f"{places.work}/".encode()
    found = {}
    for process in _processes():
        with contextlib.suppress(OSError):
            if int(process.name) == os.getpid():
                continue
            environ = (process / "environ").read_bytes().split(b"\0")
            if token in environ or mounted in (process / "mountinfo").read_bytes():
                found[int(process.name)] = _describe(process)
    return found


def _public_entries() -> Iterator[tuple[Path, int]]:
    """What stands in public places, where others come and go meanwhile, and whose it is."""
    for place in ("/tmp", "/var/tmp", "/dev/shm", "/run", "/run/lock"):
        with contextlib.suppress(OSError):
            for entry in Path(place).iterdir():
                with contextlib.suppress(FileNotFoundError):
                    yield entry, entry.lstat().st_uid


GUEST_ONLY = [Path(path) for path in ("/home/agent", "/run/art", "/opt/mydata")]
"""Paths that exist inside sandboxes of the tests and must never appear on the host."""


@pytest.fixture(scope="session", autouse=True)
def nothing_stays_behind(pytestconfig: pytest.Config) -> Iterator[None]:
    """Fails the session when a process, a mount or a stub of a sandbox outlives it."""
    places = pytestconfig.stash[PLACES]
    already = {path for path in GUEST_ONLY if path.exists()}
    yield
    if hasattr(pytestconfig, "workerinput"):
        return  # the other workers still run: the controller looks, in pytest_sessionfinish
    problems = _leftovers(places) + [
        str(path) for path in GUEST_ONLY if path.exists() and path not in already
    ]
    if problems:
        pytest.fail("left behind by the tests: " + "; ".join(problems), pytrace=False)


def _leftovers(places: Places) -> list[str]:
    deadline = time.monotonic() + 3
    while (processes := _processes_with(places)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return [*processes.values(), *(line for line in mounts if f"{places.work}/" in line)]


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    distributed = getattr(config.option, "numprocesses", None)
    if hasattr(config, "workerinput") or not distributed or PLACES not in config.stash:
        return
    if problems := _leftovers(config.stash[PLACES]):
        print("\nleft behind by the tests: " + "; ".join(problems), file=sys.stderr)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
