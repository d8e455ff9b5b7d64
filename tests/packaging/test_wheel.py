"""What is in the wheel, and that it is the same wherever it is built."""

from __future__ import annotations

import email
import email.message
import zipfile
from pathlib import Path

import pytest

from tests.support.installed_copies import Installed, build, checked, make_venv
from tests.support.places import ROOT


def contents(wheel: Path) -> dict[str, tuple[bytes, int]]:
    """Name of each file in the wheel -> its bytes and its mode."""
    with zipfile.ZipFile(wheel) as archive:
        return {info.filename: (archive.read(info), info.external_attr >> 16) for info in archive.infolist()}


def metadata(wheel: Path) -> email.message.Message:
    (raw,) = (data for name, (data, _) in contents(wheel).items() if name.endswith(".dist-info/METADATA"))
    return email.message_from_bytes(raw)


def test_it_holds_the_parts_of_art_and_nothing_else(installed: Installed) -> None:
    tops = {name.partition("/")[0] for name in contents(installed.wheel)}
    plugins = {"art_bwrap", "art_binds", "art_cowfs", "art_fusefs", "art_proxy", "art_ptrace"}
    assert tops == {"art_core", "art_cli", *plugins, "art_runtime-0.1.0.dist-info"}


def test_it_holds_every_file_of_the_parts(installed: Installed) -> None:
    expected = set()
    for source in (ROOT / "core", ROOT / "plugins", ROOT):
        for part in source.glob("art_*"):
            files = (path for path in part.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
            expected |= {str(path.relative_to(source)) for path in files}
    inside = {name for name in contents(installed.wheel) if ".dist-info/" not in name}
    assert inside == expected


def test_it_says_what_it_is(installed: Installed) -> None:
    said = metadata(installed.wheel)
    assert said["Name"] == "art-runtime"
    assert said["License-Expression"] == "MIT"
    assert said["Requires-Python"] == ">=3.11"
    assert said["Description-Content-Type"] == "text/markdown"
    always = {line for line in said.get_all("Requires-Dist", []) if "extra" not in line}
    assert always == {"pluggy>=1.0", "click>=8.1.3", "pathspec>=0.10"}
    extras = {"all", "bwrap", "dev", "docs", "network", "overlay", "trace"}
    assert set(said.get_all("Provides-Extra", [])) == extras


def test_its_licence_comes_along(installed: Installed) -> None:
    texts = [data for name, (data, _) in contents(installed.wheel).items() if name.endswith("/LICENSE")]
    assert texts == [(ROOT / "LICENSE").read_bytes()]


def test_its_entry_points_are_the_command_and_the_plugins(installed: Installed) -> None:
    (text,) = (
        data for name, (data, _) in contents(installed.wheel).items() if name.endswith("entry_points.txt")
    )
    lines = [line for line in text.decode().splitlines() if line]
    assert lines == [
        "[console_scripts]",
        "art = art_cli.entry:main",
        "[art]",
        "binds = art_binds.hooks",
        "bwrap = art_bwrap.hooks",
        "cowfs = art_cowfs.hooks",
        "proxy = art_proxy.hooks",
        "ptrace = art_ptrace.hooks",
    ]


def test_a_wheel_from_the_sdist_is_the_wheel_from_the_tree(
    installed: Installed, unpacked_sdist: Path, tmp_path: Path
) -> None:
    from_sdist = build("wheel", unpacked_sdist, tmp_path)
    assert from_sdist.name == installed.wheel.name
    assert contents(from_sdist) == contents(installed.wheel)


def test_the_sdist_carries_the_tests_and_what_they_need(unpacked_sdist: Path) -> None:
    for name in ("tests/conftest.py", "Makefile", ".ci/run", "LICENSE", "CHANGELOG.md", "docs/hooks.md"):
        assert (unpacked_sdist / name).is_file(), name
    for name in ("tests/packaging", "benchmarks", "contrib"):
        assert (unpacked_sdist / name).is_dir(), name
    assert not list(unpacked_sdist.rglob("__pycache__"))


@pytest.mark.slow
def test_the_oldest_hatchling_builds_it_as_well(installed: Installed, tmp_path: Path) -> None:
    """hatchling 1.12 is Debian 12's; its fellows are of the same day."""
    old = make_venv(
        tmp_path / "venv",
        "hatchling==1.12.0",
        "pathspec==0.10.3",
        "packaging==23.0",
        "pluggy==1.0.0",
        "build",
    )
    checked(
        [
            str(old / "python"),
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "--outdir",
            str(tmp_path),
            str(ROOT),
        ]
    )
    (wheel,) = tmp_path.glob("*.whl")
    code = {name: data for name, data in contents(wheel).items() if ".dist-info/" not in name}
    assert code == {
        name: data for name, data in contents(installed.wheel).items() if ".dist-info/" not in name
    }
    assert metadata(wheel)["License-Expression"] == "MIT"
    assert any(name.endswith("/LICENSE") for name in contents(wheel))
