"""The tiles do what their scalar twins say, and whoever calls them is compiled again when they change."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

import enrich_assets
from enrich_assets.method.pairs import tiles
from enrich_assets_tests.method import slow_reference as slow


@numba.njit
def products(rows, row, panels, panel, out, gates, column, gate):  # type: ignore[no-untyped-def]
    return tiles.products_tile(rows, row, panels, panel, rows.shape[1], out, gates, column, gate)


@numba.njit
def raise_six(rows, row, panels, panel, best, at):  # type: ignore[no-untyped-def]
    tiles.raise_by_six(rows, row, panels, panel, rows.shape[1], best, at)


@numba.njit
def raise_one(rows, row, panels, panel, best, at):  # type: ignore[no-untyped-def]
    tiles.raise_by_one(rows, row, panels, panel, rows.shape[1], best, at)


def test_the_layout_holds_two_dimensions_in_a_number() -> None:
    rows = tiles.as_rows(np.array([[1, -2, 3], [5, 1, -1]], np.int16))
    assert rows.shape == (tiles.GRAIN, 4)
    assert rows.view(np.int16)[:2].tolist() == [[1, -2, 3, 0, 0, 0, 0, 0], [5, 1, -1, 0, 0, 0, 0, 0]]
    panels = tiles.as_panels(rows)
    assert panels.shape == (3, 4, 16)
    assert panels[0, :, 1].tolist() == rows[1].tolist()
    assert tiles.dot_product(rows, 0, panels, 0, 1) == 1 * 5 + -2 * 1 + 3 * -1


@pytest.mark.parametrize("d", [1, 9, 128])
@pytest.mark.parametrize("kind", slow.KINDS)
def test_a_tile_is_its_scalar_twin(kind: str, d: int) -> None:
    q = slow.pool(kind, 90, d, seed=4)
    rows = tiles.as_rows(q)
    panels, n_pairs = tiles.as_panels(rows), rows.shape[1]
    known = np.pad(slow.products(q), (0, len(rows) - len(q)))
    rng = np.random.default_rng(d)
    for row, panel in [(0, 0), (6, 2), (30, 5), (84, 3), (90, 5)]:
        column = panel * tiles.COLUMNS
        block = known[row : row + tiles.ROWS, column : column + tiles.COLUMNS]
        least, greatest = int(block.min()), int(block.max())
        for gate in (least, greatest, greatest + 1):
            # Gates about the greatest product: some of these tiles are remarkable, some are not.
            gates = (greatest + rng.integers(-2, 60, len(rows))).astype(np.int32)
            out, by_twin = np.zeros((2, tiles.ROWS * tiles.COLUMNS), np.int32)
            remarkable = products(rows, row, panels, panel, out, gates, column, gate)
            twins = tiles.products_tile_in_python(rows, row, panels, panel, n_pairs, by_twin, gates, column, gate)
            assert remarkable == twins
            np.testing.assert_array_equal(out, by_twin)
            np.testing.assert_array_equal(out, block.ravel())
        for n_rows, tile in ((tiles.ROWS, raise_six), (1, raise_one)):
            best = (least + rng.integers(-10, max(greatest - least, 1), 40)).astype(np.int32)
            by_twin = best.copy()
            tile(rows, row, panels, panel, best, 7)
            tiles.raise_in_python(n_rows, rows, row, panels, panel, by_twin, 7)
            np.testing.assert_array_equal(best, by_twin)


def test_each_gate_alone_makes_a_tile_remarkable() -> None:
    rows = tiles.as_rows(slow.pool("gauss", 48, 16, seed=0))
    panels, never = tiles.as_panels(rows), np.full(48, 2**25, np.int32)
    out = np.zeros(96, np.int32)
    assert not products(rows, 0, panels, 2, out, never, 32, 2**25)
    at_row, at_column = never.copy(), never.copy()
    at_row[3], at_column[32 + 9] = out.reshape(6, 16)[3].max(), out.reshape(6, 16)[:, 9].max()
    assert products(rows, 0, panels, 2, out, at_row, 32, 2**25)
    assert products(rows, 0, panels, 2, out, at_column, 32, 2**25)
    assert products(rows, 0, panels, 2, out, never, 32, int(out.max()))
    for gates in (at_row, at_column):
        assert not products(rows, 0, panels, 2, out, np.where(gates < 2**25, gates + 1, gates), 32, 2**25)


KERNEL = """
import numpy as np
from enrich_assets.method.pairs.tiles import as_panels, as_rows, compiled, raise_by_one

@compiled
def kernel(rows, panels, best):
    raise_by_one(rows, 0, panels, 0, rows.shape[1], best, 0)

rows = as_rows(np.arange(12, dtype=np.int16).reshape(3, 4))
best = np.full(16, 20, np.int32)
kernel(rows, as_panels(rows), best)
print(best[:3].tolist(), "from the cache" if sum(kernel.stats.cache_hits.values()) else "compiled")
"""


def test_a_kernel_is_compiled_again_when_the_tiles_are_edited(tmp_path: Path) -> None:
    """numba notices an edit of the kernel's own file alone; a tile edited elsewhere went on as it was compiled before."""
    package = Path(enrich_assets.__file__).parent
    names = ["__init__.py", "method/__init__.py", "method/pairs/__init__.py", "method/pairs/tiles.py"]
    for name in names:
        copy = tmp_path / "enrich_assets" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(package / name, copy)
    script, edited = tmp_path / "kernel.py", tmp_path / "enrich_assets" / names[-1]
    script.write_text(KERNEL)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def outcome() -> str:
        done = subprocess.run(
            [sys.executable, str(script)], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    assert outcome() == "[20, 38, 62] compiled"
    assert outcome() == "[20, 38, 62] from the cache"
    source = edited.read_text()
    raising = 'builder.icmp_signed(">", value, held)'
    assert source.count(raising) == 1
    edited.write_text(source.replace(raising, raising.replace(">", "<")))
    assert outcome() == "[14, 20, 20] compiled"
