"""Debian's packages, one for each part: built with Debian's tools, installed and removed alone, and tried."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from contrib.packaging.split import declared
from tests.packaging.scratch import Root, scratch_root
from tests.support.accounts import Account
from tests.support.callers import Caller
from tests.support.installed_copies import checked
from tests.support.places import ROOT, Places, locked

PARTS = declared()
WHOLE = "art-runtime"
DEBIAN = ROOT / "contrib/debian"
WORDS = tomllib.loads((DEBIAN / "channel.toml").read_text())
LIBRARY = {"pluggy", "click", "trio", "apsw", "h11", "ptrace"}
LIBRARIES = {f"python3-{name}" for name in LIBRARY} | {"bubblewrap", "fuse3", "strace"}
"""What packages of ART depend on, recommend or suggest; this machine has all of it."""


def package(distribution: str) -> str:
    """Debian's name of a Python distribution."""
    return f"python3-{distribution.removeprefix('python-')}"


COMMANDS_OF_A_STORE = [
    *("push", "snapshot one", "branch two", "restore one", "status", "diff", "log", "pull --dry-run"),
    *("fs ls", "fs cat /home/agent/ws/file", "db info", "db check", "db gc", "db squash", "db export --tar"),
]
"""Each command that a store serves, as it is typed; it must work with the distribution's own libraries."""


# --- what is declared --------------------------------------------------------------------------


def stanzas() -> dict[str, str]:
    found = (DEBIAN / "control").read_text().split("\n\n")
    return {match[1]: stanza for stanza in found if (match := re.match(r"Package: (\S+)", stanza))}


def field(stanza: str, name: str) -> set[str]:
    found = re.search(rf"^{name}:((?:.*\n(?: .*\n?)*))", stanza, re.MULTILINE)
    return {item.strip() for item in found[1].split(",")} if found else set()


def test_there_is_a_package_for_each_part_and_one_for_the_whole() -> None:
    assert set(stanzas()) == {*PARTS, WHOLE}


@pytest.mark.parametrize("name", PARTS)
def test_a_package_depends_on_what_its_part_needs(name: str) -> None:
    part = PARTS[name]
    expected = {f"{other} (= ${{source:Version}})" for other in part.parts} | set(part.system)
    for requirement in part.requires:
        distribution, floor = requirement.split(">=")
        expected.add(f"{package(distribution)} (>= {floor})")
    assert field(stanzas()[name], "Depends") == expected | {"${misc:Depends}", "${python3:Depends}"}


def test_the_build_has_every_library_so_that_the_manual_pages_show_all() -> None:
    source = (DEBIAN / "control").read_text().partition("\n\n")[0]
    assert {package(name) for part in PARTS.values() for name in map(_name, part.requires)} <= field(
        source, "Build-Depends"
    )


def _name(requirement: str) -> str:
    return requirement.partition(">=")[0]


def test_its_words_name_its_packages_for_all_that_pips_name() -> None:
    pips = tomllib.loads((ROOT / "core/art_core/loader/channel.toml").read_text())
    assert {kind: set(table) for kind, table in WORDS.items()} == {
        kind: set(table) for kind, table in pips.items()
    }
    named = {command.removeprefix("apt install ") for table in WORDS.values() for command in table.values()}
    assert named <= {*PARTS, *LIBRARIES, "git", "gnupg"}


def test_the_changelog_has_the_version_of_the_tree() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert (DEBIAN / "changelog").read_text().startswith(f"art-runtime ({version}-")


# --- built and installed -----------------------------------------------------------------------


@pytest.fixture(scope="session")
def debs(unpacked_sdist: Path, places: Places) -> Path:
    """The folder of the packages, built once for all workers."""
    out = places.install / "debs"
    with locked(places.install / "debs.lock"):
        if not out.exists():
            checked([str(ROOT / "contrib/packaging/debian.sh"), str(unpacked_sdist), str(out)])
    return out


def depends(debs: Path, name: str) -> set[str]:
    (deb,) = debs.glob(f"{name}_*.deb")
    listed = checked(["dpkg-deb", "--field", str(deb), "Depends"])
    return {item.split()[0].partition(":")[0] for item in listed.split(",")}


def closure(debs: Path, names: Sequence[str]) -> set[str]:
    """The packages, all of ART's that they depend on, and what these depend on."""
    found: set[str] = set()
    waiting = set(names)
    while waiting:
        name = waiting.pop()
        found.add(name)
        if name.startswith("art-"):
            waiting |= depends(debs, name) - found
    return found


class Machine:
    """A scratch root with some packages of ART on it, and no library that they do not depend on.

    `later` are packages that the test adds: their libraries stay.
    """

    def __init__(
        self, root: Root, debs: Path, names: Sequence[str], user: str, later: Sequence[str] = ()
    ) -> None:
        self.root = root
        self.user = user
        needed = closure(debs, names)
        self.packages = {name for name in needed if name.startswith("art-")}
        root.install(sorted(self.packages))
        # apt-get takes along what depends on these, so a package that depends on more would go.
        root.remove(*sorted(LIBRARIES - needed - closure(debs, later)))
        assert root.installed("art-*") == self.packages
        for name in ("root", user):
            root.checked("install", "-d", "-o", name, f"/srv/of-{name}/ws", f"/srv/of-{name}")

    def art(self, *words: str, user: str = "root") -> tuple[int, str, str]:
        done = self.root.run("art", *words, user=user, cwd=f"/srv/of-{user}/ws")
        return done.returncode, done.stdout, done.stderr

    def runs(self) -> None:
        """A command runs in a sandbox, for root and for a plain user."""
        for user in ("root", self.user):
            assert self.art("-i=false", "--", "echo", "here", user=user) == (0, "here\n", "")

    def plugins(self) -> set[str]:
        rows = json.loads(self.art("plugins", "--json")[1])["plugins"]
        assert all(row["state"] == "ok" for row in rows)
        return {row["name"] for row in rows}

    def doctor(self) -> Mapping[str, Mapping[str, str]]:
        found = json.loads(self.art("doctor", "--json")[1])
        return {check["name"]: check for check in found["checks"]}

    def imports(self, *modules: str) -> None:
        """Every module of a part can be imported, but for the kit of plugins' authors."""
        self.root.checked(
            "python3",
            "-c",
            "import importlib, pkgutil, sys\n"
            "for name in sys.argv[1:]:\n"
            "    top = importlib.import_module(name)\n"
            "    for found in pkgutil.walk_packages(top.__path__, name + '.'):\n"
            "        if '.testing' not in found.name: importlib.import_module(found.name)\n",
            *modules,
        )

    def goes(self, name: str) -> None:
        """A package is removed by itself, and nothing of it stays."""
        before = self.root.installed("art-*")
        module = f"/usr/lib/python3/dist-packages/{name.replace('-', '_')}"
        files = self.root.checked("dpkg", "--listfiles", name).splitlines()
        own = [file for file in files if file.startswith(module) or "/usr/share/doc/" in file]
        assert f"{module}/__init__.py" in own
        self.root.checked("dpkg", "--remove", name)
        assert self.root.installed("art-*") == before - {name}
        listed = self.root.run("ls", "-d", module, f"/usr/share/doc/{name}", *files).stdout.split()
        assert [path for path in listed if name in path or module in path] == []


Maker = Callable[..., Machine]


@pytest.fixture
def machine(root: Caller, plain_user: Account, debs: Path, tmp_path: Path) -> Iterator[Maker]:
    """Makes a machine with packages."""
    with ExitStack() as closing:

        def make(*names: str, later: Sequence[str] = ()) -> Machine:
            scratch = closing.enter_context(scratch_root(tmp_path, debs))
            return Machine(scratch, debs, names, plain_user.name, later)

        yield make


pytestmark = pytest.mark.timeout(300)


@pytest.mark.slow
def test_the_libraries_stand_alone(machine: Maker) -> None:
    on = machine("art-fusefs")
    on.imports("art_fusefs")
    on.goes("art-fusefs")
    on.imports("art_core")
    on.goes("art-core")


@pytest.mark.slow
def test_the_command_line_and_direct_mode_name_what_is_missing(machine: Maker) -> None:
    on = machine("art-cli", later=["art-bwrap", "art-binds"])
    on.imports("art_cli")
    assert on.plugins() == set()
    assert on.art("--version")[1].startswith("art 0.")
    status, _, said = on.art("--", "true")
    assert (status, said.endswith("; to get it: apt install art-bwrap\n")) == (125, True), said
    assert on.art("doctor")[0] == 1
    assert on.doctor()["a run"]["found"].endswith("apt install art-bwrap")

    on.root.install(["art-bwrap"])
    on.imports("art_bwrap")
    on.runs()
    assert on.plugins() == {"bwrap"}
    for words, part in (
        (("-d", "x.db", "--", "true"), "art-cowfs"),
        (("push", "-d", "x.db"), "art-cowfs"),
        (("--trace", "--", "true"), "art-ptrace"),
        (("--network", "filtered", "--", "true"), "art-proxy"),
    ):
        status, _, said = on.art(*words)
        assert status == 125
        assert said.endswith(f": apt install {part}\n"), said
    found = on.doctor()
    for what, part in (("store sqlite", "cowfs"), ("tracer ptrace", "ptrace"), ("gateway proxy", "proxy")):
        assert (found[what]["state"], found[what]["cure"]) == ("warning", f"apt install art-{part}")

    asked = '{"binds": [{"host": "/srv/data", "guest": "/data"}]}'
    script = 'mkdir -p /srv/data .art/config; echo seen >/srv/data/file; echo "$1" >.art/config/binds.json'
    on.root.checked("sh", "-c", f"cd /srv/of-root/ws; {script}", "sh", asked)
    assert "apt install art-binds" in on.art("-i=false", "--", "true")[2]
    on.root.install(["art-binds"])
    on.imports("art_binds")
    assert on.art("-i=false", "--", "cat", "/data/file") == (0, "seen\n", "")
    on.goes("art-binds")
    assert on.art("-i=false", "--", "echo", "here")[:2] == (0, "here\n")
    on.goes("art-bwrap")
    assert on.art("--", "true")[0] == 125
    on.goes("art-cli")


@pytest.mark.slow
def test_a_home_is_kept_where_the_store_is(machine: Maker) -> None:
    on = machine("art-cli", "art-bwrap", "art-cowfs")
    on.imports("art_cowfs")
    on.runs()
    for user in ("root", on.user):
        database = f"/srv/of-{user}/x.db"
        write = on.art("-d", database, "-i=false", "--", "sh", "-c", "echo kept > file", user=user)
        assert write == (0, "", "")
        assert on.art("-d", database, "-i=false", "--", "cat", "file", user=user)[1] == "kept\n"
        assert "FILE" in on.art("pull", "-d", database, user=user)[1]
        for words in COMMANDS_OF_A_STORE:
            status, _, said = on.art(*words.split(), "-d", database, user=user)
            assert status == 0, f"{words}: {said}"
    on.goes("art-cowfs")
    on.goes("art-fusefs")
    on.runs()


@pytest.mark.slow
def test_the_network_is_filtered_and_calls_are_recorded_where_their_packages_are(machine: Maker) -> None:
    on = machine("art-cli", "art-bwrap", "art-proxy", "art-ptrace")
    on.imports("art_proxy", "art_ptrace")
    assert on.doctor()["filtered network"]["state"] == "ok"
    for user in ("root", on.user):
        traced = on.art("--trace-syscalls", "execve", "-i=false", "--", "/bin/true", user=user)
        assert (traced[0], "execve(" in traced[2]) == (0, True), traced[2]
    on.goes("art-ptrace")
    assert on.doctor()["filtered network"]["state"] == "ok"
    on.goes("art-proxy")
    on.runs()


@pytest.mark.slow
def test_all_together_lack_nothing_and_have_their_pages_and_completions(machine: Maker) -> None:
    on = machine(WHOLE, "art-cowfs", "art-proxy", "art-ptrace")
    on.runs()
    assert on.plugins() == {"binds", "bwrap", "cowfs", "proxy", "ptrace"}
    found = on.doctor()
    for what in ("store sqlite", "tracer ptrace", "gateway proxy", "a run"):
        assert found[what]["state"] == "ok", found[what]
    assert "--no-protect" in on.root.checked("sh", "-c", "man art-run | cat")
    for page in ("art", "art-push", "art-config.toml", "art-binds.json"):
        assert page in on.root.checked("man", "-w", page)
    assert "[plugins.bwrap]" in on.root.checked("sh", "-c", "man art-config.toml | cat")
    for completion in (
        "bash-completion/completions/art",
        "zsh/vendor-completions/_art",
        "fish/vendor_completions.d/art.fish",
    ):
        assert "completion --answer" in on.root.checked("cat", f"/usr/share/{completion}")
    on.root.remove("art-core")
    assert on.root.installed("art-*") == set()
    assert on.root.run("sh", "-c", "ls -d /usr/lib/python3/dist-packages/art_*").stdout == ""
