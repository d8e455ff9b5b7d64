"""What a test leaves in its own directory is removed by a later run, which calls itself for each level."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def gone_afterwards() -> Iterator[list[Path]]:
    paths: list[Path] = []
    yield paths
    assert paths and not any(path.exists() for path in paths)


def test_a_deep_tree_goes_with_its_test(gone_afterwards: list[Path], tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("directory_", dir_fd=fd)
        below = os.open("directory_", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    gone_afterwards.append(tmp_path / "directory_")


@pytest.fixture
def kept_afterwards() -> Iterator[list[Path]]:
    paths: list[Path] = []
    yield paths
    assert paths and all(path.exists() for path in paths)


def test_what_is_not_deep_can_be_looked_at_later(kept_afterwards: list[Path], tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    kept_afterwards.append(tmp_path / "a/b")
