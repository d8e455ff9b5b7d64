#!/usr/bin/env python3
"""Take ART's wheel apart into wheels of its parts, as `[tool.art.parts]` in pyproject.toml has them.

    python3 contrib/packaging/split.py dist/art_runtime-0.1.0-py3-none-any.whl --out parts/

Each part is a distribution of its own: METADATA with its requirements and the other parts it needs,
entry points, licence and RECORD (packaging.python.org, "Binary distribution format"). A last wheel,
named like the whole, holds nothing and requires the parts, so that what depends on it is content
and its extras keep their meaning. `--channel FILE` puts a packager's own words into the core.
"""

from __future__ import annotations

import argparse
import base64
import configparser
import email
import email.message
import hashlib
import io
import sys
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
CHANNEL = "art_core/loader/channel.toml"
_KEPT = ("Author", "Author-email", "License", "License-Expression", "Requires-Python", "Keywords")
_ALL = "all"


class Part(NamedTuple):
    """One part of the wheel, as it is declared."""

    name: str
    summary: str
    modules: Sequence[str]
    parts: Sequence[str] = ()
    """Other parts that it imports."""
    requires: Sequence[str] = ()
    """Distributions that it imports."""
    extra: str = ""
    """The extra of the whole distribution that brings what it requires."""
    optional: Mapping[str, Sequence[str]] = {}
    """Extra -> distributions that stand in for packages of the system."""
    system: Sequence[str] = ()
    """Packages of the system, as Debian calls them."""
    entry_points: Mapping[str, Sequence[str]] = {}
    """Group -> names."""


class Wheel(NamedTuple):
    """The files of a wheel by name, and what its metadata say."""

    name: str
    version: str
    tag: str
    files: Mapping[str, tuple[zipfile.ZipInfo, bytes]]
    metadata: email.message.Message
    dist_info: str

    def meta(self, name: str) -> bytes:
        """A file of the dist-info folder; empty when there is none."""
        return self.files.get(f"{self.dist_info}/{name}", (None, b""))[1]


class SplitError(Exception):
    """The wheel and the declaration do not agree."""


def declared(pyproject: Path = PYPROJECT) -> dict[str, Part]:
    """The parts by name. Raises SplitError on a key that is unknown."""
    tables = tomllib.loads(pyproject.read_text("utf-8"))["tool"]["art"]["parts"]
    parts = {}
    for name, table in tables.items():
        keys = {key.replace("-", "_"): value for key, value in table.items()}
        if unknown := keys.keys() - set(Part._fields):
            raise SplitError(f"{pyproject}: tool.art.parts.{name}: unknown key {', '.join(sorted(unknown))}")
        parts[name] = Part(name, **keys)
    return parts


def read(path: Path) -> Wheel:
    """A wheel from a file."""
    with zipfile.ZipFile(path) as archive:
        files = {info.filename: (info, archive.read(info)) for info in archive.infolist()}
    (dist_info,) = {name.partition("/")[0] for name in files if ".dist-info/" in name}
    metadata = email.message_from_bytes(files[f"{dist_info}/METADATA"][1])
    return Wheel(
        name=metadata["Name"],
        version=metadata["Version"],
        tag="-".join(path.name.removesuffix(".whl").rsplit("-", 3)[1:]),
        files=files,
        metadata=metadata,
        dist_info=dist_info,
    )


def placed(wheel: Wheel, parts: Mapping[str, Part]) -> dict[str, list[str]]:
    """Part -> the files that it holds. Raises SplitError when a file is in none or in several."""
    found: dict[str, list[str]] = {name: [] for name in parts}
    for file in sorted(wheel.files):
        if file.startswith(f"{wheel.dist_info}/"):
            continue
        owners = [part.name for part in parts.values() if file.partition("/")[0] in part.modules]
        if len(owners) != 1:
            raise SplitError(f"{file} is in {' and '.join(owners) or 'no part'}: [tool.art.parts]")
        found[owners[0]].append(file)
    if empty := [name for name, files in found.items() if not files]:
        raise SplitError(f"nothing of the wheel is in {', '.join(empty)}")
    return found


def _record(name: str, data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(data)}"


def _metadata(whole: Wheel, name: str, summary: str, requires: Sequence[str], extras: Sequence[str]) -> bytes:
    lines = [f"Metadata-Version: {whole.metadata['Metadata-Version']}", f"Name: {name}"]
    lines += [f"Version: {whole.version}", f"Summary: {summary[:1].upper()}{summary[1:]}"]
    for key in (*_KEPT, "License-File", "Classifier"):
        lines += [f"{key}: {value}" for value in whole.metadata.get_all(key, [])]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    lines += [f"Provides-Extra: {extra}" for extra in extras]
    return "\n".join([*lines, ""]).encode()


def _entry_points(whole: Wheel, part: Part) -> bytes:
    """The part's own of the entry points. Raises SplitError when one is not there."""
    every = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    every.optionxform = str  # type: ignore[assignment,method-assign]
    every.read_string(whole.meta("entry_points.txt").decode())
    lines = []
    for group, names in part.entry_points.items():
        lines.append(f"[{group}]")
        for name in names:
            if not every.has_option(group, name):
                raise SplitError(f"{part.name}: the wheel has no entry point {name!r} in the group {group}")
            lines.append(f"{name} = {every[group][name]}")
    return "\n".join([*lines, ""]).encode() if lines else b""


def _licences(whole: Wheel) -> dict[str, bytes]:
    """The licence files, by their names in a dist-info folder."""
    start = f"{whole.dist_info}/"
    found = {name.removeprefix(start): data for name, (_, data) in whole.files.items() if start in name}
    return {name: data for name, data in found.items() if name.rpartition("/")[2] == "LICENSE"}


def _write(
    whole: Wheel, out: Path, name: str, code: Mapping[str, bytes], dist_info: Mapping[str, bytes]
) -> Path:
    """Write one wheel, the same bytes for the same input."""
    stem = f"{name.replace('-', '_')}-{whole.version}"
    files = {**code, **{f"{stem}.dist-info/{entry}": data for entry, data in dist_info.items()}}
    listing = f"{stem}.dist-info/RECORD"
    records = [*(_record(file, data) for file, data in files.items()), f"{listing},,", ""]
    files[listing] = "\n".join(records).encode()
    path = out / f"{stem}-{whole.tag}.whl"
    model = whole.files[f"{whole.dist_info}/METADATA"][0]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, data in files.items():
            like = whole.files.get(file, (model, b""))[0]
            info = zipfile.ZipInfo(file, like.date_time)
            info.external_attr = like.external_attr
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return path


def _with_marker(requirements: Sequence[str], extra: str) -> list[str]:
    return [f"{requirement}; extra == '{extra}'" for requirement in requirements]


def _of_whole(parts: Mapping[str, Part], version: str) -> tuple[list[str], list[str]]:
    """The requirements and the extras of the distribution that only names its parts."""
    requires = [f"{part.name}=={version}" for part in parts.values() if not part.extra]
    extras: dict[str, list[str]] = {}
    for part in parts.values():
        if part.extra:
            extras.setdefault(part.extra, []).append(f"{part.name}=={version}")
        for extra in part.optional:
            extras.setdefault(extra, []).append(f"{part.name}[{extra}]=={version}")
    extras[_ALL] = [requirement for brought in extras.values() for requirement in brought]
    for extra, brought in extras.items():
        requires += _with_marker(brought, extra)
    return requires, list(extras)


def split(whole: Wheel, parts: Mapping[str, Part], out: Path, channel: bytes | None = None) -> list[Path]:
    """Write the wheels of all parts, and that of the whole which requires them; return their paths."""
    out.mkdir(parents=True, exist_ok=True)
    code = {
        name: {file: whole.files[file][1] for file in files} for name, files in placed(whole, parts).items()
    }
    if channel is not None:
        (holder,) = (files for files in code.values() if CHANNEL in files)
        holder[CHANNEL] = channel
    common = {"WHEEL": whole.meta("WHEEL"), **_licences(whole)}
    written = []
    for part in parts.values():
        requires = [*(f"{other}=={whole.version}" for other in part.parts), *part.requires]
        for extra, brought in part.optional.items():
            requires += _with_marker(brought, extra)
        meta = {
            "METADATA": _metadata(whole, part.name, part.summary, requires, list(part.optional)),
            **common,
        }
        if points := _entry_points(whole, part):
            meta["entry_points.txt"] = points
        written.append(_write(whole, out, part.name, code[part.name], meta))
    requires, extras = _of_whole(parts, whole.version)
    meta = {"METADATA": _metadata(whole, whole.name, whole.metadata["Summary"], requires, extras), **common}
    return [*written, _write(whole, out, whole.name, {}, meta)]


def main(argv: Sequence[str] | None = None) -> int:
    about = io.StringIO(__doc__).readline().strip()
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("wheel", type=Path, help="a built wheel of art-runtime")
    parser.add_argument("--out", type=Path, default=Path("parts"), help="the folder for the wheels")
    parser.add_argument("--pyproject", type=Path, default=PYPROJECT, help="where the parts are declared")
    parser.add_argument("--channel", type=Path, help="a channel.toml with the packager's own commands")
    chosen = parser.parse_args(argv)
    try:
        channel = chosen.channel.read_bytes() if chosen.channel else None
        for path in split(read(chosen.wheel), declared(chosen.pyproject), chosen.out, channel):
            print(path)
    except (SplitError, OSError, zipfile.BadZipFile) as error:
        print(f"split.py: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
