"""The source files of ART, and what they import."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.places import ROOT

PARTS = {
    "art_core": ROOT / "core/art_core",
    "art_cli": ROOT / "art_cli",
    **{path.name: path for path in sorted((ROOT / "plugins").glob("art_*"))},
}
"""Import name of each part -> its folder."""
CONTRIB = {path.name: path for path in sorted((ROOT / "contrib").glob("*/src/art_*"))}
"""The same for plugins that are distributions of their own."""
PLUGINS = set(PARTS) - {"art_core", "art_cli"}
ORDER = {
    "art_core": (
        *("", "store", "config", "loader", "host", "autorun", "view", "git", "transfer", "lending"),
        *("network", "launch", "agents", "plan", "sandbox", "inside", "testing"),
    ),
    "art_cowfs": (
        *("db", "integrity", "opening", "layers", "lower", "tree", "access", "history", "care", "serve", ""),
    ),
    "art_ptrace": ("values", "structures", "syscalls", "process", "record", ""),
    "art_cli": ("syntax", "output", "stores", "diff", "run", "plugin_commands", "commands", ""),
}
"""The folders of each part, each with those before it alone below it. The empty one is the part's own."""


@dataclass(frozen=True)
class Import:
    """`module` is imported at `where` ("path:line")."""

    module: str
    where: str

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


def modules(part: str) -> list[Path]:
    """The Python files of one part."""
    return sorted(PARTS[part].rglob("*.py"))


def imports(path: Path) -> Iterator[Import]:
    """Everything that the module at `path` imports by name, at any level of it."""
    package = _package(path)
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        names: list[str] = []
        match node:
            case ast.Import():
                names = [alias.name for alias in node.names]
            case ast.ImportFrom(level=0, module=str(module)):
                names = [module]
            case ast.ImportFrom(level=level):
                base = package[: len(package) - level + 1]
                names = [".".join([*base, *([node.module] if node.module else [])])]
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module" | "find_spec")
                | ast.Attribute(attr="import_module" | "find_spec"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                names = [module]
        for name in names:
            yield Import(name, f"{path.relative_to(ROOT)}:{node.lineno}")  # type: ignore[attr-defined]


def graph(folders: Mapping[str, Path] = PARTS | CONTRIB) -> dict[str, set[str]]:
    """Module -> the modules of ART that it imports, wherever in it that stands: in functions, and for types
    alone, too. A package is known by the name of its `__init__`."""
    found = {
        ".".join([part, *path.relative_to(folder).with_suffix("").parts]).removesuffix(".__init__"): path
        for part, folder in folders.items()
        for path in sorted(folder.rglob("*.py"))
    }
    return {name: set(_used(name, path, found)) - {name} for name, path in found.items()}


def _used(name: str, path: Path, known: Collection[str]) -> Iterator[str]:
    above = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names if alias.name in known)
            case ast.ImportFrom():
                base = above[: len(above) - node.level + 1] if node.level else []
                module = ".".join([*base, *([node.module] if node.module else [])])
                for alias in node.names:
                    inner = f"{module}.{alias.name}"
                    yield from (one for one in ((inner if inner in known else module),) if one in known)


def loops(arrows: Mapping[str, Collection[str]]) -> list[list[str]]:
    """The groups that lead back to themselves (Tarjan's strongly connected components)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    pending: list[str] = []
    groups = []

    def visit(name: str) -> None:
        order[name] = lowest[name] = len(order)
        pending.append(name)
        for to in arrows.get(name, ()):
            if to not in order:
                visit(to)
            if to in pending:
                lowest[name] = min(lowest[name], lowest[to])
        if lowest[name] == order[name]:
            group = pending[pending.index(name) :]
            del pending[pending.index(name) :]
            if len(group) > 1:
                groups.append(sorted(group))

    for name in arrows:
        if name not in order:
            visit(name)
    return sorted(groups)


def _package(path: Path) -> list[str]:
    for name, folder in (PARTS | CONTRIB).items():
        if path.is_relative_to(folder):
            return [name, *path.parent.relative_to(folder).parts]
    raise ValueError(f"{path} is in no part of ART")
