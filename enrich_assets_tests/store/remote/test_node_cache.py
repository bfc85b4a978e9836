"""A node keeps files of the store by what they hold: fetched once, whole, and no more of them than there is room for."""

from __future__ import annotations

import errno
import hashlib
import os
import uuid
from pathlib import Path

import numpy as np
import pytest

from enrich_assets.store.artefacts import Store
from enrich_assets.store.receipts import Cell, DamagedStore
from enrich_assets.store.remote.node_cache import NodeCache, NotAsNamed, bytes_of


class Source:
    """Counts how often it is asked."""

    def __init__(self, content: bytes) -> None:
        self.content, self.fetched = content, 0
        self.sha256 = hashlib.sha256(content).hexdigest()

    def __call__(self, path: str) -> None:
        self.fetched += 1
        Path(path).write_bytes(self.content)


def sources(count: int, size: int = 1000) -> list[Source]:
    return [Source(bytes([i]) * size) for i in range(count)]


def test_a_file_is_fetched_once_by_all_of_a_node(tmp_path: Path) -> None:
    source = Source(b"pixels")
    assert NodeCache(tmp_path).file(source.sha256, source).read_bytes() == b"pixels"
    assert NodeCache(tmp_path).file(source.sha256, source).read_bytes() == b"pixels"
    assert source.fetched == 1


def test_what_the_disk_has_changed_is_fetched_again(tmp_path: Path) -> None:
    source = Source(b"pixels")
    NodeCache(tmp_path).file(source.sha256, source).write_bytes(b"pixelZ")
    assert NodeCache(tmp_path).file(source.sha256, source).read_bytes() == b"pixels"
    assert source.fetched == 2


def test_what_is_not_what_it_is_called_is_not_kept(tmp_path: Path) -> None:
    source = Source(b"other pixels")
    with pytest.raises(NotAsNamed):
        NodeCache(tmp_path).file(hashlib.sha256(b"pixels").hexdigest(), source)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    cache, files = NodeCache(tmp_path, most_bytes=3500), sources(4)
    for age, source in enumerate(files[:3]):
        path = cache.file(source.sha256, source)
        os.utime(path, ns=(age, age))
    os.utime(cache.file(files[0].sha256, files[0]), ns=(10, 10))  # used again
    cache.file(files[3].sha256, files[3])
    kept = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert kept == {files[0].sha256, files[2].sha256, files[3].sha256}
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) <= 3500


def test_a_file_larger_than_the_cache_is_served_all_the_same(tmp_path: Path) -> None:
    cache, (small, other), large = NodeCache(tmp_path, most_bytes=1500), sources(2), Source(b"x" * 9000)
    cache.file(small.sha256, small)
    assert cache.file(large.sha256, large).stat().st_size == 9000
    assert cache.file(other.sha256, other).exists()


def test_a_full_disk_is_made_room_on(tmp_path: Path) -> None:
    cache, (first, second) = NodeCache(tmp_path), sources(2)
    cache.file(first.sha256, first)

    class Full(Source):
        def __call__(self, path: str) -> None:
            if self.fetched == 0:
                self.fetched += 1
                raise OSError(errno.ENOSPC, "no space left")
            super().__call__(path)

    full = Full(second.content)
    assert cache.file(full.sha256, full).read_bytes() == second.content


def test_nobody_else_may_look_into_it(tmp_path: Path) -> None:
    source = Source(b"pixels")
    NodeCache(tmp_path / "cache").file(source.sha256, source)
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0


def test_an_array_of_a_store_elsewhere_is_mapped_and_verified(tmp_path: Path) -> None:
    store = Store(f"memory://{uuid.uuid4().hex}", NodeCache(tmp_path))
    draft = store.draft(Cell("frames", "one"), settings="s", inputs={})
    draft.array("pixels", np.arange(12).reshape(3, 4))
    receipt = draft.commit()
    held = store.array(receipt, "pixels")
    assert isinstance(held, np.memmap)
    assert np.array_equal(held, np.arange(12).reshape(3, 4))
    store.folder.write(store.path(receipt, "pixels.npy"), b"damaged since")
    assert np.array_equal(store.array(receipt, "pixels"), held)  # this node has it
    with pytest.raises(DamagedStore, match="is not what frames"):
        Store(store.folder.url, NodeCache(tmp_path / "other")).array(receipt, "pixels")


@pytest.mark.parametrize(
    ("text", "size"), [("20G", 20 * 10**9), ("1.5 TB", 15 * 10**11), ("500m", 5 * 10**8), ("7", 7)]
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert bytes_of(text) == size


def test_what_is_no_size_says_so() -> None:
    with pytest.raises(ValueError, match="'plenty' is no size"):
        bytes_of("plenty")
