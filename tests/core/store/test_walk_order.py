"""Streams in the order of a walk are brought together, and read backwards."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from art_core.store.walk_order import Backwards, Sorted, Spooled, place, together
from art_core.transfer.host_files import HostTree

NAMES = st.binary(min_size=1, max_size=3).filter(lambda name: b"/" not in name and b"\0" not in name)
PATHS = st.sets(st.lists(NAMES, min_size=1, max_size=4).map(b"/".join), max_size=12)


@given(PATHS, PATHS, PATHS)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_each_path_comes_once_with_what_each_stream_says(
    first: set[bytes], second: set[bytes], third: set[bytes]
) -> None:
    streams = [[(path, path) for path in sorted(paths, key=place)] for paths in (first, second, third)]
    found = list(together(*streams))
    assert [path for path, *_ in found] == sorted(first | second | third, key=lambda path: path.split(b"/"))
    for path, *said in found:
        assert said == [path if path in paths else None for paths in (first, second, third)]


def test_the_order_is_that_of_a_walk(tmp_path: Path) -> None:
    for name in ("a/b/c", "a/b-c", "a-b", "a.", "a/b./x", "b"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    fd = os.open(tmp_path, os.O_PATH)
    with HostTree(fd) as tree:
        walked = [path for path, _ in tree.walk()]
    os.close(fd)
    assert walked == sorted(walked, key=place) and len(walked) == 9


def test_records_are_read_last_one_first_however_many() -> None:
    records = [(b"path" * (number % 50), number) for number in range(20_000)]
    with Backwards[tuple[bytes, int]]() as kept:
        assert list(kept) == []
        for record in records:
            kept.put(record)
        assert list(kept) == records[::-1]


def test_records_are_read_in_the_order_of_a_key_however_many() -> None:
    records = [(number * 7919 % 1000, number) for number in range(20_000)]
    with Sorted[tuple[int, int]](key=lambda record: record[0]) as kept:
        assert list(kept) == []
        for record in records:
            kept.put(record)
        assert list(kept) == list(kept) == sorted(records) and len(kept) == len(records)


def test_records_are_read_again_as_often_as_one_likes() -> None:
    with Spooled[int]() as kept:
        for number in range(12_345):
            kept.put(number)
        assert list(kept) == list(kept) == list(range(12_345)) and len(kept) == 12_345
